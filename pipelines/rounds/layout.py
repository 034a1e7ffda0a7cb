"""Where a round keeps what. Everything lies under `out/round-N`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from schemas.digests import shorten_digest


@dataclass(frozen=True)
class RoundPlaces:
    """The folder of one round."""

    folder: Path

    @property
    def evidence(self) -> str:
        """What the round's teacher saw."""
        return str(self.folder / "evidence")

    @property
    def view(self) -> str:
        """What the policy believes of it."""
        return str(self.folder / "view")

    def audit(self, view_digest: str) -> Path:
        """The sample that is reviewed before training; a view's own, so that no other view takes its verdicts."""
        return self.folder / f"audit-{shorten_digest(view_digest)}"

    def training(self, name: str) -> Path:
        """Folder of the student's or the control's training."""
        return self.folder / name

    def model(self, name: str) -> Path:
        """Its model directory."""
        return self.folder / name / "model"

    @property
    def averaged(self) -> Path:
        """The student averaged with its teacher."""
        return self.folder / "averaged" / "model"

    def results(self, suite: str, name: str) -> Path:
        """A model's detections on a suite."""
        return self.folder / "evaluations" / f"{suite}-{name}.json"


def round_places(out: Path, number: int) -> RoundPlaces:
    """The places of round `number`, from 1."""
    return RoundPlaces(out / f"round-{number}")
