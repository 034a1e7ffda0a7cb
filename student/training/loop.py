"""The loop of one worker: batches, steps, the log, checkpoints; it continues as if never interrupted.

Rank 0 writes, all others only learn. What two starts of a run share is in the checkpoint: the state, the step, and
what the log had not told yet. Batches and random numbers are functions of the step.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from student.batches.build import Batch, BatchMaker
from student.batches.prefetch import batches_ahead
from student.data.streams import Stream
from student.settings.train import TrainSettings
from student.training.checkpoints import drop_old, latest_checkpoint, read_record
from student.training.distributed import Place
from student.training.log_images import pictures
from student.training.metrics_log import COUNT, TrainingJournal
from student.training.report import write_settings
from student.training.run_lock import only_writer
from student.training.schedule import learning_rate
from student.training.state import Learned, TrainingState

Progress = Callable[[str, int, int], None]
CHECKPOINTS, MODEL = "checkpoints", "model"


@dataclass(frozen=True)
class Asked:
    """What is asked of a run from outside, looked at after every step."""

    stop: Callable[[], bool] = lambda: False  # write a checkpoint and end
    save: Callable[[], bool] = lambda: (
        False
    )  # write a checkpoint: this place goes away; asked on every worker


@dataclass
class _Tally:
    """Since the last logged step: losses summed, prompts counted; seconds by what they went to."""

    losses: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    steps: int = 0
    timed_steps: int = 0
    data_s: float = 0.0
    began: float = field(default_factory=time.perf_counter)

    def record(self) -> dict[str, Any]:
        """What a checkpoint keeps; seconds are of this process alone."""
        return {"losses": dict(self.losses), "counts": dict(self.counts), "steps": self.steps}


class TrainingLoop:
    """One worker's run from the newest checkpoint to the end, or to where it is asked to stop."""

    def __init__(
        self,
        settings: TrainSettings,
        streams: list[Stream],
        digest: str,
        place: Place,
        progress: Progress,
        asked: Asked,
    ) -> None:
        self.settings, self.digest, self.place = settings, digest, place
        self.progress, self.asked = progress, asked
        self.out = Path(settings.out)
        self.state = TrainingState(settings, place)
        self.batches = BatchMaker(settings, streams, self.state.processor)
        self.step, self.tally = 0, _Tally()

    def run(self) -> bool:
        """Whether all steps are done; then rank 0 has written the model."""
        with only_writer(self.out) if self.place.writes else nullcontext():
            self._resume()
            if self.place.writes:  # nobody else writes there now, and no other run stands there
                write_settings(self.settings, self.digest)
            with self._journal() as journal:
                done = self._steps(journal)
            if done and self.place.writes:
                self.state.save_model(self.out / MODEL)
            self.place.barrier()
        return done

    def _resume(self) -> None:
        """The newest checkpoint, as rank 0 sees it; its place on disk is the same for all."""
        found = latest_checkpoint(self.out / CHECKPOINTS, self.digest) if self.place.writes else None
        step = self.place.told_by_first(found[1] if found else -1)
        if step < 0:
            return
        path = self.out / CHECKPOINTS / f"step-{step:08d}"
        self.state.restore(path)
        logged = read_record(path)["logged"]
        self.step = step
        # The counts are of all workers: one of them goes on with them.
        counts = Counter(logged["counts"]) if self.place.writes else Counter()
        self.tally = _Tally(Counter(logged["losses"]), counts, logged["steps"])

    def _journal(self) -> AbstractContextManager[TrainingJournal | None]:
        if not self.place.writes:
            return nullcontext()
        return TrainingJournal(self.out, self.step, self.settings.tensorboard)

    def _steps(self, journal: TrainingJournal | None) -> bool:
        if journal is not None:
            journal.note(self.state.learned())
        coming = self._parts()
        self.tally.began = time.perf_counter()
        try:
            while self.step < self.settings.steps:
                waiting = time.perf_counter()
                parts = next(coming)
                self.tally.data_s += time.perf_counter() - waiting
                if self._one_step(parts, journal):
                    return False
        finally:
            coming.close()
        return True

    def _parts(self) -> Generator[tuple[Batch, ...]]:
        """This worker's parts of each coming step."""
        parts = self.settings.accumulate
        total, first = self.place.workers * parts, self.place.rank * parts
        yield from zip(
            *(
                batches_ahead(self.batches, self.step, self.settings.steps, first + part, total)
                for part in range(parts)
            ),
            strict=True,
        )

    def _one_step(self, parts: tuple[Batch, ...], journal: TrainingJournal | None) -> bool:
        """Learn, log, save. Whether the run was asked to stop, on whichever worker."""
        settings = self.settings
        learned = self.state.learn(self.step, parts)
        stopping = self._count(parts, learned, journal)
        self._show(parts[-1], learned, journal)
        if (self.step + 1) % settings.log_every == 0 or self.step + 1 == settings.steps:
            self._log(journal)
        self.step += 1
        self.progress("train", self.step, settings.steps)
        if self.step == settings.steps:
            return False
        leaving = self.step % settings.log_every == 0 and self.asked.save()
        if stopping or leaving or self.step % settings.checkpoint_every == 0:
            self._save()
        return stopping

    def _count(self, parts: tuple[Batch, ...], learned: Learned, journal: TrainingJournal | None) -> bool:
        """Losses over all workers into the tally; returns whether any worker was asked to stop."""
        names = list(learned.losses)
        *losses, stop = self.place.means([*learned.losses.values(), float(self.asked.stop())])
        self.tally.losses.update(dict(zip(names, losses, strict=True)))
        self.tally.steps += 1
        self.tally.timed_steps += 1
        for batch in parts:
            self.tally.counts.update(batch.counts)
        if self.settings.log_samples:
            gathered = self.place.gathered([name for batch in parts for name in batch.names])
            if journal is not None:
                journal.samples(self.step, [name for names in gathered for name in names])
        return stop > 0

    def _show(self, batch: Batch, learned: Learned, journal: TrainingJournal | None) -> None:
        every = self.settings.images_every
        if journal is not None and journal.draws and every and self.step % every == 0:
            journal.pictures(self.step, pictures(batch, learned.outputs, self.state.processor))

    def _log(self, journal: TrainingJournal | None) -> None:
        tally, now = self.tally, time.perf_counter()
        counts = self.place.counted(tally.counts)
        self.tally = _Tally(began=now)
        if journal is None:
            return
        spent = max(now - tally.began, 1e-9)
        values = {name: value / tally.steps for name, value in tally.losses.items()}
        values |= {
            "learning_rate": learning_rate(self.step, self.settings),
            "images_per_s": tally.timed_steps * self.settings.batch_size / spent,
            "data_wait_share": tally.data_s / spent,
        }
        counted = {f"{COUNT}{name}": number for name, number in sorted(counts.items())}
        journal.write(self.step, {name: round(value, 6) for name, value in values.items()} | counted)

    def _save(self) -> None:
        """A checkpoint of the state before the next step. Counts not logged yet are kept as rank 0's sum over all."""
        counts = self.place.counted(self.tally.counts)
        self.tally.counts = counts if self.place.writes else Counter()
        if self.place.writes:
            self.state.save(self.out / CHECKPOINTS, self.step, self.digest, self.tally.record())
            drop_old(self.out / CHECKPOINTS, self.settings.keep_checkpoints)
