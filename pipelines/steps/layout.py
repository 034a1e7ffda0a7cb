"""The paths that the folder of the demo and that of a round have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class LoopLayout:
    """The paths of one pass through the loop. Each part is the output of the verb of the same name."""

    folder: Path

    @property
    def evidence(self) -> str:
        """Output of `label`."""
        return str(self.folder / "evidence")

    @property
    def view(self) -> str:
        """Output of `compile`."""
        return str(self.folder / "view")

    def training(self, name: str) -> Path:
        """Return the folder of a training, e.g. of the student or the control."""
        return self.folder / name

    def model(self, name: str) -> Path:
        """Return the model directory of a training."""
        return self.training(name) / "model"
