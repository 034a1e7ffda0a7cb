"""Decoys of a unit's samples: chosen, asked for in batches of their own, and put into rows that were made without them.

Promise: a sample's own phrases, regions and fate are what they are without decoys; when asking for decoys fails, only
the decoys are marked as not asked.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.worker.evidence_rows import without_phrases
from engine.worker.regions import evidence_regions
from schemas.errors import GroundswellError
from schemas.labeler import DecoyChooser, DecoyLabeler, PreparedSample
from schemas.records import Region, Sample
from schemas.settings import EvidenceSettings

log = logging.getLogger(__name__)


@dataclass
class _Asked:
    """A sample with its decoys behind its own phrases, and the answer."""

    sample: Sample
    answered: bool = False
    regions: list[dict[str, Any]] = field(default_factory=list)
    truncated: set[int] = field(default_factory=set)


class SecondPass:
    """The decoys of one unit. `prepare` may run in another thread than the rest."""

    def __init__(self, chooser: DecoyChooser, labeler: DecoyLabeler, evidence: EvidenceSettings) -> None:
        self._chooser, self._labeler, self._evidence = chooser, labeler, evidence
        self._asked: dict[int, _Asked] = {}

    def prepare(self, sample: Sample, image_rgb_u8: np.ndarray) -> PreparedSample | None:
        """Choose decoys for a sample and make them ready; None where there are none, or they cannot be asked.

        Raises what ends a run, and MemoryError.
        """
        decoys = self._chooser.choose(sample)
        if not decoys:
            return None
        asked = sample.model_copy(update={"phrases": (*sample.phrases, *decoys)})
        self._asked[sample.index] = _Asked(asked)
        try:
            prepared = self._labeler.prepare_decoys(asked, image_rgb_u8)
        except (GroundswellError, MemoryError):
            raise
        except Exception as error:  # as in run_unit, but it costs the decoys and not the sample
            _tell(sample.index, error)
            return None
        self._asked[sample.index] = _Asked(without_phrases(asked, prepared.dropped))
        return prepared

    def accept(self, index: int, regions: Sequence[Region]) -> None:
        """Take the answer; one that is no list of regions of the decoys is none."""
        asked = self._asked[index]
        try:
            rows, truncated = evidence_regions(asked.sample, regions, self._evidence)
        except (GroundswellError, MemoryError):
            raise
        except Exception as error:
            _tell(index, error)
            return
        if all(asked.sample.phrases[row["phrase"]].kind == "decoy" for row in rows):
            self._asked[index] = _Asked(asked.sample, True, rows, truncated)

    def add_to(self, index: int, row: dict[str, Any]) -> dict[str, Any]:
        """The row with the sample's decoys behind its phrases and their regions behind its regions."""
        asked = self._asked.get(index)
        if asked is None:
            return row
        phrases = list(row["phrases"])
        for number in range(len(phrases), len(asked.sample.phrases)):
            decoy = asked.sample.phrases[number]
            marks = {
                "groundable": decoy.groundable and asked.answered,
                "truncated": number in asked.truncated,
            }
            phrases.append(decoy.model_dump() | marks)
        return {**row, "phrases": phrases, "regions": [*row["regions"], *asked.regions]}


def _tell(index: int, error: Exception) -> None:
    """Of decoys that count as not asked; the type alone, since a message may hold a caption."""
    log.warning("the decoys of sample %d count as not asked: %s", index, type(error).__name__)
