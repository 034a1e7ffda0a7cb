"""The paths of a round. Everything is under `out/round-N`."""

from __future__ import annotations

from pathlib import Path

from pipelines.steps.layout import LoopLayout
from schemas.digests import shorten_digest


class RoundLayout(LoopLayout):
    """The paths in the folder of one round."""

    def audit(self, view_digest: str) -> Path:
        """Return the folder of the audit. It is named by the view, so that no other view uses its verdicts."""
        return self.folder / f"audit-{shorten_digest(view_digest)}"

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
