"""What a run writes down while it trains: JSON lines, and TensorBoard's event files beside them.

Lines are numbered by step; a run that resumes first drops the lines of steps it is about to repeat.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LINES = "metrics.jsonl"


class TrainingJournal:
    """Appends one record per logged step."""

    def __init__(self, folder: Path, first_step: int, tensorboard: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        kept = [record for record in read_journal(folder) if record["step"] < first_step]
        self._path = folder / LINES
        self._path.write_text("".join(json.dumps(record) + "\n" for record in kept))
        self._writer: Any = _event_writer(folder / "events", first_step) if tensorboard else None

    def write(self, step: int, values: dict[str, float]) -> None:
        """One line: the step and its values."""
        with self._path.open("a") as lines:
            lines.write(json.dumps({"step": step, **values}) + "\n")
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush the event files."""
        if self._writer is not None:
            self._writer.close()


def read_journal(folder: Path) -> list[dict[str, Any]]:
    """The records so far; a last line that a kill cut short is left out."""
    path = folder / LINES
    if not path.exists():
        return []
    lines = path.read_text().split("\n")[:-1]
    return [json.loads(line) for line in lines]


def _event_writer(folder: Path, first_step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=first_step)
