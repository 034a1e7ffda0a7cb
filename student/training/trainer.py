"""The state of a training (model, optimizer, averaged weights) and the step that updates it.

Promise: a step is a function of the state, the step number and its images. Parts (accumulation) and workers only divide
the images. The losses are divided by counts over all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from schemas.errors import GroundswellError, RuntimeEnvironmentError
from student.batches.batch_builder import Batch
from student.models.start import load_start
from student.settings.train import TrainSettings
from student.training.checkpoints import PendingLog, restore, save_checkpoint
from student.training.distributed import TrainingGroup
from student.training.metrics_log import ParameterCounts
from student.training.optimizer import freeze, make_optimizer, parameter_groups, set_rates
from student.training.schedule import learning_rate, weight_decay
from student.training.sync_batch_norm import synchronize
from teacher.models.glip.checkpoint.portable_code import write_code
from teacher.models.glip.loss_normalizers import label_counts
from teacher.models.glip.modeling import GlipForGrounding
from teacher.models.glip.outputs import GlipGroundingOutput
from teacher.models.glip.tuning import add_prompt_offset, tune


@dataclass(frozen=True)
class StepResult:
    """Losses and the norm of the gradient over all workers, and the outputs of the last part."""

    losses: dict[str, float]
    outputs: GlipGroundingOutput


class Trainer:
    """Everything that a checkpoint stores."""

    def __init__(self, settings: TrainSettings, group: TrainingGroup) -> None:
        _check_device(settings.device)
        self.settings, self.group = settings, group
        self.model, self.processor = load_start(settings)
        if settings.tuning_prompt is not None:
            add_prompt_offset(self.model, self.processor, settings.tuning_prompt)
        self.model.to(device=settings.device, memory_format=torch.channels_last)  # type: ignore[call-arg]
        tuning = tune(self.model, settings.tuning)
        freeze(self.model, settings)
        self.groups = parameter_groups(self.model, settings)
        self.tuning = replace(
            tuning, learned=sum(value.numel() for own in self.groups for _, value in own.parameters)
        )
        if settings.activation_checkpointing:
            self.model.activation_checkpointing_enable()
        self.optimizer = make_optimizer(self.groups, settings)
        self.average = _copy_weights(self.model) if settings.ema_decay and group.is_writer else None
        self._parallel = self._wrap_model()

    def _wrap_model(self) -> GlipForGrounding | nn.parallel.DistributedDataParallel:
        """Return the model, wrapped for several workers."""
        if self.group.workers == 1:
            return self.model
        synchronize(self.model)
        return nn.parallel.DistributedDataParallel(
            self.model,
            broadcast_buffers=False,  # equal on all workers: batch norms use the whole step
            # Prevents torch from moving gradients to other buckets after the first step, which would change rounding:
            # the first step of a resumed run is another one.
            find_unused_parameters=True,
            gradient_as_bucket_view=True,
        )

    def describe_parameters(self) -> ParameterCounts:
        """Return how many numbers the model has and how many learn, with one line per group."""
        groups = [str(group) for group in self.groups]
        return {"total": self.tuning.total, "learned": self.tuning.learned, "groups": groups}

    def save(self, folder: Path, step: int, digest: str, pending: PendingLog) -> Path:
        """Write a checkpoint of the state before `step`. `pending` has the measurements that are not logged yet."""
        return save_checkpoint(
            folder, step, digest, self.model, self.processor, self.optimizer, self.average, pending
        )

    def restore(self, path: Path) -> None:
        """Load a checkpoint's weights, moments and averages."""
        restore(path, self.model, self.optimizer, self.average)

    def train_step(self, step: int, parts: Sequence[Batch]) -> StepResult:
        """Run one optimizer step on this worker's parts of a batch. Raise GroundswellError for a loss of NaN or inf."""
        settings = self.settings
        set_rates(self.optimizer, learning_rate(step, settings), weight_decay(step, settings))
        self.optimizer.zero_grad(set_to_none=True)
        counts = self._count_labels(parts) if len(parts) > 1 else None
        losses: dict[str, float] = {}
        for number, batch in enumerate(parts):
            self._seed(step, number)
            with nullcontext() if number == len(parts) - 1 else self._delay_all_reduce():
                outputs = self._forward(batch, counts)
                loss, terms = outputs.loss, outputs.loss_dict
                assert loss is not None and terms is not None, "the model got labels"
                for name, value in {"loss": loss, **terms}.items():
                    losses[name] = losses.get(name, 0.0) + float(value.detach())
                _check_losses(losses, step, batch)
                loss.backward()
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm))
        self.optimizer.step()
        if self.average is not None and settings.ema_decay is not None:
            _update_average(self.average, self.model, settings.ema_decay, step)
        return StepResult({**losses, "gradient_norm": norm}, outputs)

    def _delay_all_reduce(self) -> AbstractContextManager[None]:
        """Return a context in which the backward pass does not average gradients over workers."""
        if isinstance(self._parallel, nn.parallel.DistributedDataParallel):
            return self._parallel.no_sync()
        return nullcontext()

    def _seed(self, step: int, part: int) -> None:
        # Random layers are seeded by step, worker and part, so a resumed run needs no random state.
        place = self.group.rank * self.settings.accumulate + part
        torch.manual_seed((self.settings.seed * 1_000_003 + step + place * 0x9E3779B97F4A7C15) % 2**63)

    def _count_labels(self, parts: Sequence[Batch]) -> Tensor:
        device = torch.device(self.settings.device)
        own = []
        for batch in parts:
            height, width = batch.pixel_values.shape[2:]
            own.append(label_counts(batch.labels, (height, width), self.model.config, device))
        return self.group.all_reduce(torch.stack(own).sum(dim=0)) / self.group.workers

    def _forward(self, batch: Batch, counts: Tensor | None) -> GlipGroundingOutput:
        device = self.settings.device
        labels = cast(list[dict[str, Tensor]], batch.labels)
        with torch.autocast(device, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            outputs = self._parallel(
                pixel_values=batch.pixel_values.to(device, memory_format=torch.channels_last),
                pixel_mask=batch.pixel_mask.to(device),
                input_ids=batch.input_ids.to(device),
                attention_mask=batch.attention_mask.to(device),
                labels=[{name: value.to(device) for name, value in label.items()} for label in labels],
                counts=counts,
            )
        return cast(GlipGroundingOutput, outputs)

    def save_model(self, folder: Path) -> None:
        """Write the result, a Hugging Face directory. The weights are the average, if the run has one."""
        if self.average is not None:
            self.model.load_state_dict(self.average, strict=False)
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)
        write_code(folder)


def _check_losses(losses: Mapping[str, float], step: int, batch: Batch) -> None:
    if not all(abs(value) < float("inf") for value in losses.values()):
        raise GroundswellError(
            f"step {step}: the loss is {dict(losses)}, expected finite numbers; images {batch.names}. Lower "
            "learning_rate or clip_norm"
        )


def _check_device(name: str) -> None:
    if name == "cuda" and not torch.cuda.is_available():
        raise RuntimeEnvironmentError("device is cuda and this process sees no GPU; use `device: cpu`")


def _copy_weights(model: nn.Module) -> dict[str, Tensor]:
    return {
        name: value.detach().clone()
        for name, value in model.state_dict().items()
        if value.is_floating_point()
    }


@torch.no_grad()
def _update_average(average: dict[str, Tensor], model: nn.Module, decay: float, step: int) -> None:
    """Update the exponential moving average. The decay is lower in early steps, so that the start is forgotten."""
    keep = min(decay, (1 + step) / (10 + step))
    for name, value in model.state_dict().items():
        if name in average:
            average[name].lerp_(value, 1 - keep)
