"""Training: an explicit loop over pure batches, with checkpoints from which it continues as if never interrupted."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from schemas.digests import digest_of
from schemas.errors import Conflict, GroundswellError, NotFound
from student.ahead import batches_ahead
from student.batches import Batch, BatchMaker
from student.card import write_card
from student.checkpoints import drop_old, latest_checkpoint, restore, save_checkpoint
from student.examples import Stream, data_digest, load_stream, without_probe_nouns
from student.journal import TrainingJournal, read_journal
from student.schedule import learning_rate
from student.settings import TrainSettings
from teacher.labelers.glip_digest import model_files
from teacher.models.glip import GlipForGrounding, GlipProcessor
from teacher.models.glip.tuning import add_prompt_offset, tune

REPORT, WEIGHTS = "report.json", "model.safetensors"
Progress = Callable[[str, int, int], None]
# What may differ between two starts of one run: where things lie, and how often they are written down.
_COUNT = "count/"
_NOT_THE_RUN = {"start", "out", "log_every", "tensorboard", "checkpoint_every", "keep_checkpoints", "loader"}


def train(settings: TrainSettings, progress: Progress | None = None) -> dict[str, Any]:
    """Train and return the report; `out/model` is the result, a Hugging Face directory.

    A run that was cut short continues from its last checkpoint; one that is done gives its report again. Raises
    Conflict when `out` holds another run, GroundswellError when the loss is no longer a number.
    """
    torch.set_num_threads(settings.threads)
    streams = without_probe_nouns([load_stream(one) for one in settings.streams], settings.probe_nouns)
    digest = run_digest(settings, streams)
    out = Path(settings.out)
    if (report := _finished(out, digest)) is not None:
        return report
    run = _Run(settings, streams, digest, progress or (lambda label, done, total: None))
    run.to_the_end()
    report = run.report()
    write_card(out / "model", settings, report)
    partial = out / (REPORT + ".partial")
    partial.write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")
    partial.rename(out / REPORT)
    return report


def run_digest(settings: TrainSettings, streams: list[Stream]) -> str:
    """`sha256:<hex>` of what the trained model depends on: settings, the start's files, the data's content."""
    values = {
        name: value for name, value in settings.model_dump(mode="json").items() if name not in _NOT_THE_RUN
    }
    if (
        settings.probe_nouns == "auto"
    ):  # then the data decides, and it came later: such runs keep their digest
        del values["probe_nouns"]
    values["streams"] = [
        {name: value for name, value in stream.items() if name not in ("url", "roots", "storage")}
        for stream in values["streams"]
    ]
    start = model_files(Path(settings.start))
    if WEIGHTS not in start:
        raise NotFound(f"{settings.start} holds no {WEIGHTS}: `start` must be a model directory")
    return digest_of([values, start, data_digest(streams)])


def _finished(out: Path, digest: str) -> dict[str, Any] | None:
    path = out / REPORT
    if not path.exists():
        return None
    report = json.loads(path.read_text())
    if report["run_digest"] != digest:
        raise Conflict(f"{out} holds the run {report['run_digest']}, not {digest}: choose another `out`")
    # The model itself may be gone or damaged since: then the run goes on from its last checkpoint.
    return dict(report) if model_files(out / "model") == report["model_files"] else None


@dataclass
class _Tally:
    """Since the last logged step: losses summed, seconds by what they went to."""

    losses: Counter[str]
    counts: Counter[str]
    steps: int = 0
    data_s: float = 0.0
    began: float = 0.0


class _Run:
    """The state of one training run: model, optimizer, average, step."""

    def __init__(
        self, settings: TrainSettings, streams: list[Stream], digest: str, progress: Progress
    ) -> None:
        self.settings, self.streams, self.digest, self.progress = settings, streams, digest, progress
        self.out = Path(settings.out)
        self.processor = GlipProcessor.from_pretrained(settings.start, trust_remote_code=False)
        self.batches = BatchMaker(settings, streams, self.processor)
        self.model = GlipForGrounding.from_pretrained(settings.start)
        if settings.tuning_prompt is not None:
            add_prompt_offset(self.model, self.processor, settings.tuning_prompt)
        self.model.to(device=settings.device, memory_format=torch.channels_last)
        self.tuning = tune(self.model, settings.tuning)
        if settings.activation_checkpointing:
            self.model.activation_checkpointing_enable()
        self.optimizer = _optimizer(self.model, settings)
        self.average = _start_average(self.model) if settings.ema_decay else None
        self.step = 0
        if found := latest_checkpoint(self.out / "checkpoints", digest):
            restore(found[0], self.model, self.optimizer, self.average)
            self.step = found[1]
        self.journal = TrainingJournal(self.out, self.step, settings.tensorboard)

    def to_the_end(self) -> None:
        """All remaining steps, then the model directory."""
        tally = _Tally(Counter(), Counter(), began=time.perf_counter())
        coming = batches_ahead(self.batches, self.step, self.settings.steps)
        while self.step < self.settings.steps:
            waiting = time.perf_counter()
            batch = next(coming)
            tally.data_s += time.perf_counter() - waiting
            rate = learning_rate(self.step, self.settings)
            losses = self._learn(batch, rate)
            tally.losses.update(losses)
            tally.steps += 1
            tally.counts.update(batch.counts)
            if (self.step + 1) % self.settings.log_every == 0 or self.step + 1 == self.settings.steps:
                tally = self._log(tally, rate)
            self.step += 1
            self.progress("train", self.step, self.settings.steps)
            if self.step % self.settings.checkpoint_every == 0 and self.step < self.settings.steps:
                self._save()
        self.journal.close()
        self._save_model()

    def _learn(self, batch: Batch, rate: float) -> dict[str, float]:
        """One optimizer step; returns the losses as numbers."""
        settings = self.settings
        # Stochastic layers, where a model has them, are seeded by the step: a resumed run needs no random state.
        torch.manual_seed((settings.seed * 1_000_003 + self.step) % 2**63)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        device = settings.device
        outputs = self.model(
            pixel_values=batch.pixel_values.to(device, memory_format=torch.channels_last),
            pixel_mask=batch.pixel_mask.to(device),
            input_ids=batch.input_ids.to(device),
            attention_mask=batch.attention_mask.to(device),
            labels=[{name: value.to(device) for name, value in item.items()} for item in batch.labels],
        )
        terms = {"loss": outputs.loss, **outputs.loss_dict}
        losses = {name: float(value.detach()) for name, value in terms.items()}
        if not all(abs(value) < float("inf") for value in losses.values()):
            raise GroundswellError(
                f"step {self.step}: the loss is {losses}; images {batch.names}. Lower learning_rate or clip_norm"
            )
        self.optimizer.zero_grad(set_to_none=True)
        outputs.loss.backward()
        losses["gradient_norm"] = float(nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm))
        self.optimizer.step()
        if self.average is not None and settings.ema_decay is not None:
            _update_average(self.average, self.model, settings.ema_decay, self.step)
        return losses

    def _log(self, tally: _Tally, rate: float) -> _Tally:
        now = time.perf_counter()
        spent = max(now - tally.began, 1e-9)
        values = {name: value / tally.steps for name, value in tally.losses.items()}
        values |= {
            "learning_rate": rate,
            "images_per_s": tally.steps * self.settings.batch_size / spent,
            "data_wait_share": tally.data_s / spent,
        }
        counts = {f"{_COUNT}{name}": number for name, number in sorted(tally.counts.items())}
        self.journal.write(self.step, {name: round(value, 6) for name, value in values.items()} | counts)
        return _Tally(Counter(), Counter(), began=now)

    def _save(self) -> None:
        folder = self.out / "checkpoints"
        save_checkpoint(
            folder, self.step, self.digest, self.model, self.processor, self.optimizer, self.average
        )
        drop_old(folder, self.settings.keep_checkpoints)

    def _save_model(self) -> None:
        if self.average is not None:
            self.model.load_state_dict(self.average, strict=False)
        self.model.save_pretrained(self.out / "model")
        self.processor.save_pretrained(self.out / "model")

    def report(self) -> dict[str, Any]:
        """What was trained on what, without a clock: the same run in the same place gives the same report."""
        files = model_files(self.out / "model")
        return {
            "run_digest": self.digest,
            "data_digest": data_digest(self.streams),
            "streams": [_stream_facts(stream) for stream in self.streams],
            "steps": self.settings.steps,
            "counts": self._counts(),
            "images_seen": self.settings.steps * self.settings.batch_size,
            "parameters": self.tuning.total,
            "tuning": {"mode": self.tuning.mode, "learned": self.tuning.learned},
            "start_sha256": model_files(Path(self.settings.start))[WEIGHTS],
            "model_sha256": files[WEIGHTS],
            "model_files": files,
        }

    def _counts(self) -> dict[str, int]:
        """Over all steps: prompts by kind, and spans that lay past the token limit."""
        total: Counter[str] = Counter()
        for record in read_journal(self.out):
            total.update({name: value for name, value in record.items() if name.startswith(_COUNT)})
        return {name.removeprefix(_COUNT): number for name, number in sorted(total.items())}


def _stream_facts(stream: Stream) -> dict[str, Any]:
    return {
        "url": stream.settings.url,
        "digest": stream.digest,
        "view_digest": stream.view_digest,
        "kind": stream.kind,
        "share": stream.settings.share,
        "images": stream.images,
        "entries_per_epoch": len(stream.order),
        "boxes": stream.boxes,
        "licenses": dict(sorted(stream.licenses.items())),
    }


def _optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW over what learns; biases, norms and scalars are not decayed."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in learning if parameter.ndim >= 2]
    plain = [parameter for parameter in learning if parameter.ndim < 2]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)


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
