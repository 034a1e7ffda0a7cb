"""Parameter groups (which parameters learn, at which share of the rate, with which decay) and AdamW over them.

Source of the shares: make_optimizer of microsoft/GLIP at 9dda955. There a parameter is a bias if its name contains
"bias", so the position bias tables of Swin are biases too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from student.settings.train import TrainSettings

TEXT, BACKBONE = "model.text_encoder.", "model.backbone."
# `freeze_stages: 1` freezes these, in Swin and in the tiny world's network. Each higher number adds one stage.
_STEM = ("patches.", "patch_norm.", "stem.")


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters with the same learning rate and decay."""

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
    """Freeze the backbone's first stages and the batch norms as the settings say. Their random layers are off too."""
    frozen = [BACKBONE + part for part in _STEM] if settings.freeze_stages else []
    frozen += [f"{BACKBONE}stages.{stage}." for stage in range(settings.freeze_stages - 1)]
    for name, module in model.named_modules():
        norm = settings.freeze_batch_norm and isinstance(module, nn.BatchNorm2d)
        if norm or f"{name}.".startswith(tuple(frozen)):
            _freeze_module(module)


def _freeze_module(module: nn.Module) -> None:
    module.eval()
    module.requires_grad_(False)


def parameter_groups(model: nn.Module, settings: TrainSettings) -> list[ParameterGroup]:
    """Return every parameter that learns, in groups of equal part, share and decay."""
    groups: dict[tuple[str, float, bool], list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(_group_key(name, parameter, settings), []).append((name, parameter))
    return [ParameterGroup(name, rate, decayed, tuple(own)) for (name, rate, decayed), own in groups.items()]


def _group_key(name: str, parameter: Tensor, settings: TrainSettings) -> tuple[str, float, bool]:
    """Return (name of the group, share of the learning rate, whether it is decayed)."""
    bias = "bias" in name
    part, rate = "tower and heads", 1.0
    if name.startswith(TEXT):
        part, rate = "text encoder", settings.text_rate
    elif name.startswith(BACKBONE):
        part, rate = "backbone", settings.backbone_rate
    not_decayed = bias if settings.no_decay == "biases" else parameter.ndim < 2
    kind = "biases" if bias else "weights"
    return f"{part}, {kind}", rate * (settings.bias_rate if bias else 1.0), not not_decayed


def make_optimizer(groups: Iterable[ParameterGroup], settings: TrainSettings) -> torch.optim.AdamW:
    """Return AdamW over the groups. `set_rates` sets learning rate and decay of every group before a step."""
    options = [
        {"params": [value for _, value in group.parameters], "rate": group.rate, "decayed": group.decayed}
        for group in groups
    ]
    return torch.optim.AdamW(options, lr=settings.learning_rate, betas=settings.betas, fused=True)


def set_rates(optimizer: torch.optim.Optimizer, rate: float, decay: float) -> None:
    """Set the schedule's learning rate and weight decay for a step, for each group in its share."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate"]
        group["weight_decay"] = decay if group["decayed"] else 0.0
