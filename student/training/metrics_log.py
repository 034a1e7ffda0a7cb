"""What a run writes down while it trains: JSON lines, and TensorBoard's event files beside them.

Lines are numbered by step; a run that resumes first drops the lines of steps it is about to repeat.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.storage.local_files import replace_file
from schemas.errors import ConflictError

LINES, SAMPLES, LEARNED = "metrics.jsonl", "samples.jsonl", "parameters.json"
COUNT = "count/"
_TAIL_BYTES = 65_536  # far more than a record has


class TrainingJournal:
    """Appends one record per logged step; a context manager."""

    def __init__(self, folder: Path, first_step: int, tensorboard: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        for name in (LINES, SAMPLES):
            _drop_from(folder / name, first_step)
        self._writer: Any = _event_writer(folder / "events", first_step) if tensorboard else None

    @property
    def draws(self) -> bool:
        """Whether pictures are kept."""
        return self._writer is not None

    def __enter__(self) -> TrainingJournal:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def note(self, learned: dict[str, Any]) -> None:
        """Write what learns, and how: `total`, `learned`, and a line for each group of parameters."""
        (self._folder / LEARNED).write_text(json.dumps(learned, indent=1) + "\n")

    def write(self, step: int, values: dict[str, float]) -> None:
        """One line: the step and its values."""
        _append(self._folder / LINES, {"step": step, **values})
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def samples(self, step: int, names: Sequence[str]) -> None:
        """The images of a step, over all workers in the order of their slots."""
        _append(self._folder / SAMPLES, {"step": step, "names": list(names)})

    def pictures(self, step: int, images: Sequence[np.ndarray]) -> None:
        """Pictures, uint8 [H, W, 3], into the event files."""
        for number, image in enumerate(images):
            self._writer.add_image(f"boxes/{number}", image, step, dataformats="HWC")

    def close(self) -> None:
        """Flush the event files."""
        if self._writer is not None:
            self._writer.close()


def read_journal(folder: Path) -> list[dict[str, Any]]:
    """The records so far; a last line that a kill cut short is left out."""
    return _read(folder / LINES)


def newest_record(folder: Path) -> dict[str, Any] | None:
    """The last whole record, or None; only the file's end is read, so a long run may be looked at all the time."""
    path = folder / LINES
    if not path.exists():
        return None
    with path.open("rb") as lines:
        lines.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        whole = lines.read().split(b"\n")[:-1]
    return dict(json.loads(whole[-1])) if whole else None


def read_samples(folder: Path) -> list[dict[str, Any]]:
    """`{"step", "names"}` of each step so far, where the run was asked to write them."""
    return _read(folder / SAMPLES)


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        found = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
        return [{**record, "step": int(record["step"])} for record in found]
    except (ValueError, KeyError, TypeError) as error:
        raise ConflictError(
            f"{path} is no log of a training ({type(error).__name__}: {str(error)[:100]}): mend or remove it; its "
            "counts are missing in the report then"
        ) from error


def _append(path: Path, record: dict[str, Any]) -> None:
    with path.open("a") as lines:
        lines.write(json.dumps(record) + "\n")


def _drop_from(path: Path, first_step: int) -> None:
    """Leave only the lines of earlier steps; replaced at once, so that a kill loses none."""
    kept = [record for record in _read(path) if record["step"] < first_step]
    if not path.exists():
        return
    replace_file(path, "".join(json.dumps(record) + "\n" for record in kept).encode())


def _event_writer(folder: Path, first_step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=first_step)
