"""The paths of a round. Everything is under `out/round-N`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from schemas.digests import shorten_digest


@dataclass(frozen=True)
class RoundLayout:
    """The paths in the folder of one round."""

    folder: Path

    @property
    def evidence(self) -> str:
        """The evidence of the round's teacher."""
        return str(self.folder / "evidence")

    @property
    def view(self) -> str:
        """The view of that evidence."""
        return str(self.folder / "view")

    def audit(self, view_digest: str) -> Path:
        """Return the folder of the audit. It is named by the view, so that no other view uses its verdicts."""
        return self.folder / f"audit-{shorten_digest(view_digest)}"

    def training(self, name: str) -> Path:
        """Return the folder of the student's or the control's training."""
        return self.folder / name

    def model(self, name: str) -> Path:
        """Return the model directory of a training."""
        return self.folder / name / "model"

    @property
    def averaged(self) -> Path:
        """The average of the student and its teacher."""
        return self.folder / "averaged" / "model"

    def results(self, suite: str, name: str) -> Path:
        """Return the file of a model's detections on a suite."""
        return self.folder / "evaluations" / f"{suite}-{name}.json"


def locate_round(out: Path, number: int) -> RoundLayout:
    """Return the paths of round `number`, counted from 1."""
    return RoundLayout(out / f"round-{number}")
