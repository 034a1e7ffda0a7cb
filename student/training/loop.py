"""The training loop of one worker: batches, steps, the log, checkpoints. A resumed run equals an uninterrupted one.

Only rank 0 writes. A checkpoint has everything that two starts of a run share: the state, the step, and measurements
that are not in the log yet. Batches and random numbers are functions of the step.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from schemas.progress import ProgressCallback
from student.batches.batch_builder import Batch, BatchBuilder
from student.batches.prefetch import prefetch_batches
from student.data.streams import Stream
from student.prompts.unreadable_nouns import exclude_unreadable_nouns
from student.settings.train import TrainSettings
from student.training.checkpoints import (
    CHECKPOINTS,
    PendingLog,
    latest_checkpoint,
    read_record,
    remove_old_checkpoints,
)
from student.training.distributed import TrainingGroup
from student.training.log_images import draw_pictures
from student.training.metrics_log import COUNT, MetricsLog
from student.training.report import MODEL, write_settings
from student.training.run_lock import lock_run_folder
from student.training.schedule import learning_rate
from student.training.trainer import StepResult, Trainer

log = logging.getLogger(__name__)

_MAX_LISTED = 5


def never_stop() -> bool:
    """Return False: nothing asks the run to end."""
    return False


@dataclass(frozen=True)
class RunSignals:
    """Requests from outside, checked after every step.

    should_stop: whether to write a checkpoint and end
    should_save: whether to write a checkpoint, because a node of a worker will be taken away; called on every worker
    """

    should_stop: Callable[[], bool] = never_stop
    should_save: Callable[[], bool] = never_stop


@dataclass
class _LogWindow:
    """Measurements since the last logged step: summed losses, counted prompts, and seconds by their use."""

    losses: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    steps: int = 0
    timed_steps: int = 0
    data_s: float = 0.0
    began: float = field(default_factory=time.perf_counter)

    def pending(self) -> PendingLog:
        """Return what a checkpoint stores. Seconds belong to this process alone."""
        return {"losses": dict(self.losses), "counts": dict(self.counts), "steps": self.steps}


class TrainingLoop:
    """One worker's run from the newest checkpoint to the end, or to a request to stop."""

    def __init__(
        self,
        settings: TrainSettings,
        streams: list[Stream],
        digest: str,
        group: TrainingGroup,
        progress: ProgressCallback,
        signals: RunSignals,
    ) -> None:
        self.settings, self.digest, self.group = settings, digest, group
        self.progress, self.signals = progress, signals
        self.out = Path(settings.out)
        self.state = Trainer(settings, group)
        self.batches = BatchBuilder(settings, self._exclude_unreadable(streams), self.state.processor)
        self.step, self.window = 0, _LogWindow()

    def run(self) -> bool:
        """Run the remaining steps. Return whether all steps are done; then rank 0 has written the model."""
        with lock_run_folder(self.out) if self.group.is_writer else nullcontext():
            self._resume()
            if self.group.is_writer:  # the lock is held and the checkpoints are of this run
                write_settings(self.settings, self.digest)
            with self._open_log() as log:
                done = self._run_steps(log)
            if done and self.group.is_writer:
                self.state.save_model(self.out / MODEL)
            self.group.barrier()
        return done

    def _exclude_unreadable(self, streams: list[Stream]) -> list[Stream]:
        """Return the streams whose negatives the tokenizer can read. Runs of earlier versions drew all nouns."""
        readable, unreadable = exclude_unreadable_nouns(streams, self.state.processor)
        if not unreadable or self.settings.negatives == "words":
            return streams
        if self.group.is_writer:
            log.warning(
                "the tokenizer of %s has no word for %d nouns (%s): as negatives they are left out, and their boxes "
                "teach the unknown word; rename them in the data",
                self.settings.start,
                len(unreadable),
                ", ".join(unreadable[:_MAX_LISTED]) + (", ..." if len(unreadable) > _MAX_LISTED else ""),
            )
        return readable

    def _resume(self) -> None:
        """Load the newest checkpoint that rank 0 sees. Its location on disk is the same for all workers."""
        latest = latest_checkpoint(self.out / CHECKPOINTS, self.digest) if self.group.is_writer else None
        step = self.group.broadcast(latest[1] if latest else -1)
        if step < 0:
            return
        path = self.out / CHECKPOINTS / f"step-{step:08d}"
        self.state.restore(path)
        pending = read_record(path)["logged"]
        self.step = step
        # The counts are sums over all workers, so one of them continues with them.
        counts = Counter(pending["counts"]) if self.group.is_writer else Counter()
        self.window = _LogWindow(Counter(pending["losses"]), counts, pending["steps"])

    def _open_log(self) -> AbstractContextManager[MetricsLog | None]:
        if not self.group.is_writer:
            return nullcontext()
        return MetricsLog(self.out, self.step, self.settings.tensorboard)

    def _run_steps(self, log: MetricsLog | None) -> bool:
        """Run the remaining steps. Return False after a request to stop."""
        if log is not None:
            log.write_parameters(self.state.describe_parameters())
        parts_of_steps = self._prefetch_parts()
        self.window.began = time.perf_counter()
        try:
            while self.step < self.settings.steps:
                waiting = time.perf_counter()
                parts = next(parts_of_steps)
                self.window.data_s += time.perf_counter() - waiting
                if self._run_step(parts, log):
                    return False
        finally:
            parts_of_steps.close()
        return True

    def _prefetch_parts(self) -> Generator[tuple[Batch, ...]]:
        """Yield this worker's parts of each remaining step."""
        parts = self.settings.accumulate
        total, first = self.group.workers * parts, self.group.rank * parts
        yield from zip(
            *(
                prefetch_batches(self.batches, self.step, self.settings.steps, first + part, total)
                for part in range(parts)
            ),
            strict=True,
        )

    def _run_step(self, parts: tuple[Batch, ...], log: MetricsLog | None) -> bool:
        """Learn, log, save. Return whether any worker got a request to stop."""
        settings = self.settings
        result = self.state.train_step(self.step, parts)
        stopping = self._count(parts, result, log)
        self._log_pictures(parts[-1], result, log)
        if (self.step + 1) % settings.log_every == 0 or self.step + 1 == settings.steps:
            self._log_metrics(log)
        self.step += 1
        self.progress("train", self.step, settings.steps)
        if self.step == settings.steps:
            return False
        leaving = self.step % settings.log_every == 0 and self.signals.should_save()
        if stopping or leaving or self.step % settings.checkpoint_every == 0:
            self._save()
        return stopping

    def _count(self, parts: tuple[Batch, ...], result: StepResult, log: MetricsLog | None) -> bool:
        """Add the losses over all workers to the window. Return whether any worker got a request to stop."""
        names = list(result.losses)
        *losses, stop = self.group.mean([*result.losses.values(), float(self.signals.should_stop())])
        self.window.losses.update(dict(zip(names, losses, strict=True)))
        self.window.steps += 1
        self.window.timed_steps += 1
        for batch in parts:
            self.window.counts.update(batch.counts)
        if self.settings.log_samples:
            by_worker = self.group.all_gather([name for batch in parts for name in batch.names])
            if log is not None:
                log.write_samples(self.step, [name for names in by_worker for name in names])
        return stop > 0

    def _log_pictures(self, batch: Batch, result: StepResult, log: MetricsLog | None) -> None:
        every = self.settings.images_every
        if log is not None and log.takes_pictures and every and self.step % every == 0:
            log.write_pictures(self.step, draw_pictures(batch, result.outputs, self.state.processor))

    def _log_metrics(self, log: MetricsLog | None) -> None:
        window, now = self.window, time.perf_counter()
        counts = self.group.sum_counts(window.counts)
        self.window = _LogWindow(began=now)
        if log is None:
            return
        elapsed = max(now - window.began, 1e-9)
        values = {name: value / window.steps for name, value in window.losses.items()}
        values |= {
            "learning_rate": learning_rate(self.step, self.settings),
            "images_per_s": window.timed_steps * self.settings.batch_size / elapsed,
            "data_wait_share": window.data_s / elapsed,
        }
        count_values = {f"{COUNT}{name}": number for name, number in sorted(counts.items())}
        log.write_metrics(self.step, {name: round(value, 6) for name, value in values.items()} | count_values)

    def _save(self) -> None:
        """Write a checkpoint of the state before the next step, with rank 0's sum of the counts of all workers."""
        counts = self.group.sum_counts(self.window.counts)
        self.window.counts = counts if self.group.is_writer else Counter()
        if self.group.is_writer:
            self.state.save(self.out / CHECKPOINTS, self.step, self.digest, self.window.pending())
            remove_old_checkpoints(self.out / CHECKPOINTS, self.settings.keep_checkpoints)
