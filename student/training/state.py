"""The state of a training: model, optimizer, average of the weights; and the step that moves it.

Its promise: a step is a function of the state, the step's number and its images. Parts (accumulation) and workers
only divide the images, and the losses are divided by counts over all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from schemas.errors import GroundswellError, RuntimeEnvironmentError
from student.batches.build import Batch
from student.models.start import load_start
from student.settings.train import TrainSettings
from student.training.checkpoints import restore, save_checkpoint
from student.training.distributed import Place
from student.training.optimizer import freeze, make_optimizer, parameter_groups, set_rates
from student.training.schedule import learning_rate, weight_decay
from student.training.sync_batch_norm import synchronise
from teacher.models.glip.loss_normalizers import label_counts
from teacher.models.glip.outputs import GlipGroundingOutput
from teacher.models.glip.tuning import add_prompt_offset, tune


@dataclass(frozen=True)
class Learned:
    """What a step gave: losses and the gradient's norm over all workers, and the last part's outputs."""

    losses: dict[str, float]
    outputs: GlipGroundingOutput


class TrainingState:
    """Everything that a checkpoint holds."""

    def __init__(self, settings: TrainSettings, place: Place) -> None:
        _check_device(settings.device)
        self.settings, self.place = settings, place
        self.model, self.processor = load_start(settings)
        if settings.tuning_prompt is not None:
            add_prompt_offset(self.model, self.processor, settings.tuning_prompt)
        self.model.to(device=settings.device, memory_format=torch.channels_last)
        tuning = tune(self.model, settings.tuning)
        freeze(self.model, settings)
        self.groups = parameter_groups(self.model, settings)
        self.tuning = replace(
            tuning, learned=sum(value.numel() for group in self.groups for _, value in group.parameters)
        )
        if settings.activation_checkpointing:
            self.model.activation_checkpointing_enable()
        self.optimizer = make_optimizer(self.groups, settings)
        self.average = _start_average(self.model) if settings.ema_decay and place.writes else None
        self._parallel = self._over_workers()

    def _over_workers(self) -> nn.Module:
        if self.place.workers == 1:
            return self.model
        synchronise(self.model)
        return nn.parallel.DistributedDataParallel(
            self.model,
            broadcast_buffers=False,  # equal everywhere: batch norms see the whole step
            # Keeps torch from dealing gradients to other buckets after the first step, which would round otherwise:
            # a run that resumes has another first step.
            find_unused_parameters=True,
            gradient_as_bucket_view=True,
        )

    def learned(self) -> dict[str, Any]:
        """How many numbers the model has and learns, and a line for each group of them."""
        groups = [str(group) for group in self.groups]
        return {"total": self.tuning.total, "learned": self.tuning.learned, "groups": groups}

    def save(self, folder: Path, step: int, digest: str, logged: dict[str, Any]) -> Path:
        """Write a checkpoint of the state before `step`; `logged` is what the log has not told yet."""
        return save_checkpoint(
            folder, step, digest, self.model, self.processor, self.optimizer, self.average, logged
        )

    def restore(self, path: Path) -> None:
        """Take a checkpoint's weights, moments and averages."""
        restore(path, self.model, self.optimizer, self.average)

    def learn(self, step: int, parts: Sequence[Batch]) -> Learned:
        """One optimizer step from this worker's parts of a batch. Raises GroundswellError for a loss of no number."""
        settings = self.settings
        set_rates(self.optimizer, learning_rate(step, settings), weight_decay(step, settings))
        self.optimizer.zero_grad(set_to_none=True)
        counts = self._counts(parts) if len(parts) > 1 else None
        losses: Counter[str] = Counter()
        for number, batch in enumerate(parts):
            last = number == len(parts) - 1
            self._seed(step, number)
            with nullcontext() if last or self.place.workers == 1 else self._parallel.no_sync():
                outputs = self._forward(batch, counts)
                terms = {"loss": outputs.loss, **outputs.loss_dict}
                losses.update({name: float(value.detach()) for name, value in terms.items()})
                _check(losses, step, batch)
                outputs.loss.backward()
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm))
        self.optimizer.step()
        if self.average is not None and settings.ema_decay is not None:
            _update_average(self.average, self.model, settings.ema_decay, step)
        return Learned({**losses, "gradient_norm": norm}, outputs)

    def _seed(self, step: int, part: int) -> None:
        # Random layers are seeded by step and place: a resumed run needs no random state.
        place = self.place.rank * self.settings.accumulate + part
        torch.manual_seed((self.settings.seed * 1_000_003 + step + place * 0x9E3779B97F4A7C15) % 2**63)

    def _counts(self, parts: Sequence[Batch]) -> Tensor:
        device = torch.device(self.settings.device)
        own = [
            label_counts(batch.labels, tuple(batch.pixel_values.shape[2:]), self.model.config, device)
            for batch in parts
        ]
        return self.place.summed(torch.stack(own).sum(dim=0)) / self.place.workers

    def _forward(self, batch: Batch, counts: Tensor | None) -> GlipGroundingOutput:
        device = self.settings.device
        half = torch.autocast(device, torch.bfloat16, enabled=self.settings.precision == "bf16")
        with half:
            return self._parallel(
                pixel_values=batch.pixel_values.to(device, memory_format=torch.channels_last),
                pixel_mask=batch.pixel_mask.to(device),
                input_ids=batch.input_ids.to(device),
                attention_mask=batch.attention_mask.to(device),
                labels=[{name: value.to(device) for name, value in item.items()} for item in batch.labels],
                counts=counts,
            )

    def save_model(self, folder: Path) -> None:
        """Write the result, a Hugging Face directory: the average of the weights where there is one."""
        if self.average is not None:
            self.model.load_state_dict(self.average, strict=False)
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)


def _check(losses: dict[str, float], step: int, batch: Batch) -> None:
    if not all(abs(value) < float("inf") for value in losses.values()):
        raise GroundswellError(
            f"step {step}: the loss is {dict(losses)}; images {batch.names}. Lower learning_rate or clip_norm"
        )


def _check_device(name: str) -> None:
    if name == "cuda" and not torch.cuda.is_available():
        raise RuntimeEnvironmentError("device is cuda and this process sees no GPU; use `device: cpu`")


def _start_average(model: nn.Module) -> dict[str, Tensor]:
    return {
        name: value.detach().clone()
        for name, value in model.state_dict().items()
        if value.is_floating_point()
    }


@torch.no_grad()
def _update_average(average: dict[str, Tensor], model: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average; early on the decay is lower, so that the start is forgotten."""
    keep = min(decay, (1 + step) / (10 + step))
    for name, value in model.state_dict().items():
        if name in average:
            average[name].lerp_(value, 1 - keep)
