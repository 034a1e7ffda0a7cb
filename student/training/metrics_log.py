"""The log of a training: JSON lines, and TensorBoard event files.

Lines are numbered by step. A run that resumes first removes the lines of the steps that it will repeat.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from engine.storage.local_files import replace_file
from schemas.errors import ConflictError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LINES, SAMPLES, PARAMETERS = "metrics.jsonl", "samples.jsonl", "parameters.json"
COUNT = "count/"
_TAIL_BYTES = 65_536  # far more than the size of a record


class ParameterCounts(TypedDict):
    """How many numbers the model has and how many learn, with one line of text per group of parameters."""

    total: int
    learned: int
    groups: list[str]


class MetricsLog:
    """Appends one record per logged step. Use it as a context manager."""

    def __init__(self, folder: Path, first_step: int, tensorboard: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        for name in (LINES, SAMPLES):
            _remove_from_step(folder / name, first_step)
        self._writer = _open_event_writer(folder / "events", first_step) if tensorboard else None

    @property
    def takes_pictures(self) -> bool:
        """Whether the log stores pictures."""
        return self._writer is not None

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def write_parameters(self, parameters: ParameterCounts) -> None:
        """Write which parameters learn, and how."""
        (self._folder / PARAMETERS).write_text(json.dumps(parameters, indent=1) + "\n")

    def write_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Write one line: the step and its values."""
        _append(self._folder / LINES, {"step": step, **values})
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def write_samples(self, step: int, names: Sequence[str]) -> None:
        """Write the images of a step, over all workers in the order of their slots."""
        _append(self._folder / SAMPLES, {"step": step, "names": list(names)})

    def write_pictures(self, step: int, images: Sequence[NDArray[np.uint8]]) -> None:
        """Write pictures, uint8 [H, W, 3], into the event files."""
        if self._writer is not None:
            for number, image in enumerate(images):
                self._writer.add_image(f"boxes/{number}", image, step, dataformats="HWC")

    def close(self) -> None:
        """Flush the event files."""
        if self._writer is not None:
            self._writer.close()


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the records so far, without a last line that a kill cut short."""
    return _read(folder / LINES)


def read_latest_record(folder: Path) -> dict[str, Any] | None:
    """Return the last complete record, or None.

    Only the end of the file is read, so a caller may poll a long run.
    """
    path = folder / LINES
    if not path.exists():
        return None
    with path.open("rb") as lines:
        lines.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        complete = lines.read().split(b"\n")[:-1]
    return dict(json.loads(complete[-1])) if complete else None


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
        return [{**record, "step": int(record["step"])} for record in records]
    except (ValueError, KeyError, TypeError) as error:
        raise ConflictError(
            f"{path} is not the log of a training ({type(error).__name__}: {str(error)[:100]}): correct or remove it; "
            "without it, the report has no counts of the steps so far"
        ) from error


def _append(path: Path, record: Mapping[str, object]) -> None:
    with path.open("a") as lines:
        lines.write(json.dumps(record) + "\n")


def _remove_from_step(path: Path, first_step: int) -> None:
    """Keep only the lines of earlier steps. The file is replaced in one step, so that a kill loses no line."""
    earlier = [record for record in _read(path) if record["step"] < first_step]
    if not path.exists():
        return
    replace_file(path, "".join(json.dumps(record) + "\n" for record in earlier).encode())


def _open_event_writer(folder: Path, first_step: int) -> SummaryWriter:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=first_step)
