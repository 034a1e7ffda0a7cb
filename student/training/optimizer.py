"""Which parameters learn, at which share of the learning rate, with which weight decay; and AdamW over them.

Source of the shares: make_optimizer of microsoft/GLIP at 9dda955, where a parameter is a bias when its name contains
"bias": the position bias tables of Swin are biases too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from student.settings.train import TrainSettings

TEXT, BACKBONE = "model.text_encoder.", "model.backbone."
# What `freeze_stages: 1` freezes, in Swin and in the tiny world's network; each further number one stage more.
_STEM = ("patches.", "patch_norm.", "stem.")


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that learn alike."""

    name: str
    rate: float  # share of the learning rate
    decayed: bool
    parameters: tuple[tuple[str, nn.Parameter], ...]

    def __str__(self) -> str:
        tensors, numbers = len(self.parameters), sum(value.numel() for _, value in self.parameters)
        decay = "decayed" if self.decayed else "not decayed"
        return (
            f"{self.name}: {numbers:,} numbers in {tensors} tensors, learning rate x {self.rate:g}, {decay}"
        )


def freeze(model: nn.Module, settings: TrainSettings) -> None:
    """Freeze the backbone's first stages and the batch norms, as the settings say; what is frozen drops nothing."""
    frozen = [BACKBONE + part for part in _STEM] if settings.freeze_stages else []
    frozen += [f"{BACKBONE}stages.{stage}." for stage in range(settings.freeze_stages - 1)]
    for name, module in model.named_modules():
        norm = settings.freeze_batch_norm and isinstance(module, nn.BatchNorm2d)
        if norm or f"{name}.".startswith(tuple(frozen)):
            _stop(module)


def _stop(module: nn.Module) -> None:
    module.eval()
    module.requires_grad_(False)


def parameter_groups(model: nn.Module, settings: TrainSettings) -> list[ParameterGroup]:
    """Every parameter that learns, in one group of those with the same part, share and decay."""
    groups: dict[tuple[str, float, bool], list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(_kind(name, parameter, settings), []).append((name, parameter))
    return [
        ParameterGroup(name, rate, decayed, tuple(found)) for (name, rate, decayed), found in groups.items()
    ]


def _kind(name: str, parameter: Tensor, settings: TrainSettings) -> tuple[str, float, bool]:
    bias = "bias" in name
    part, rate = "tower and heads", 1.0
    if name.startswith(TEXT):
        part, rate = "text encoder", settings.text_rate
    elif name.startswith(BACKBONE):
        part, rate = "backbone", settings.backbone_rate
    plain = bias if settings.no_decay == "biases" else parameter.ndim < 2
    what = "biases" if bias else "weights"
    return f"{part}, {what}", rate * (settings.bias_rate if bias else 1.0), not plain


def make_optimizer(groups: Iterable[ParameterGroup], settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW; `set_rates` gives every group its learning rate and decay before a step."""
    described = [
        {"params": [value for _, value in group.parameters], "rate": group.rate, "decayed": group.decayed}
        for group in groups
    ]
    return torch.optim.AdamW(described, lr=settings.learning_rate, betas=settings.betas, fused=True)


def set_rates(optimizer: torch.optim.Optimizer, rate: float, decay: float) -> None:
    """Before a step: the schedule's learning rate and weight decay, for each group in its share."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate"]
        group["weight_decay"] = decay if group["decayed"] else 0.0
