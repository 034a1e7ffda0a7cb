"""Decoys of a unit's samples: chosen, asked for in batches of their own, and appended to finished evidence rows.

A sample's own phrases, regions and fate do not depend on decoys. If asking for decoys fails, only the decoys are
marked as not asked.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from engine.worker.evidence_rows import mark_dropped
from engine.worker.region_filter import evidence_regions
from schemas.errors import GroundswellError
from schemas.labeler import DecoyChooser, DecoyLabeler, PreparedSample
from schemas.records import Region, Sample
from schemas.rows import EvidenceRow, PhraseRow, RegionRow
from schemas.settings import EvidenceSettings

log = logging.getLogger(__name__)


@dataclass
class _DecoyAnswer:
    """A sample whose decoys follow its own phrases, and the teacher's answer for the decoys."""

    sample: Sample
    is_answered: bool = False
    regions: list[RegionRow] = field(default_factory=list)
    truncated: set[int] = field(default_factory=set)


class DecoyPass:
    """The decoys of one unit. `prepare` may run in another thread than the other methods."""

    def __init__(self, chooser: DecoyChooser, labeler: DecoyLabeler, evidence: EvidenceSettings) -> None:
        self._chooser, self._labeler, self._evidence = chooser, labeler, evidence
        self._answers: dict[int, _DecoyAnswer] = {}

    def prepare(self, sample: Sample, image_rgb_u8: np.ndarray) -> PreparedSample | None:
        """Choose decoys for a sample and prepare them. Return None if there are none or they cannot be asked for.

        raises: errors that end the run, and MemoryError
        """
        decoys = self._chooser.choose(sample)
        if not decoys:
            return None
        extended = sample.model_copy(update={"phrases": (*sample.phrases, *decoys)})
        self._answers[sample.index] = _DecoyAnswer(extended)
        try:
            prepared = self._labeler.prepare_decoys(extended, image_rgb_u8)
        except (GroundswellError, MemoryError):
            raise
        except Exception as error:  # as for the sample's own phrases, but it costs only the decoys
            _log_failure(sample.index, error)
            return None
        self._answers[sample.index] = _DecoyAnswer(mark_dropped(extended, prepared.dropped))
        return prepared

    def accept(self, index: int, regions: Sequence[Region]) -> None:
        """Accept the answer for a sample. An answer that is not a list of regions of the decoys is ignored."""
        sample = self._answers[index].sample
        try:
            rows, truncated = evidence_regions(sample, regions, self._evidence)
        except (GroundswellError, MemoryError):
            raise
        except Exception as error:
            _log_failure(index, error)
            return
        if all(sample.phrases[row["phrase"]].kind == "decoy" for row in rows):
            self._answers[index] = _DecoyAnswer(sample, True, rows, truncated)

    def append_to(self, index: int, row: EvidenceRow) -> EvidenceRow:
        """Return the row with the sample's decoys after its phrases and their regions after its regions."""
        answer = self._answers.get(index)
        if answer is None:
            return row
        phrases = list(row["phrases"])
        for number in range(len(phrases), len(answer.sample.phrases)):
            decoy = answer.sample.phrases[number]
            phrases.append(
                PhraseRow(
                    begin=decoy.begin,
                    end=decoy.end,
                    text=decoy.text,
                    root=decoy.root,
                    kind=decoy.kind,
                    groundable=decoy.groundable and answer.is_answered,
                    truncated=number in answer.truncated,
                )
            )
        return {**row, "phrases": phrases, "regions": [*row["regions"], *answer.regions]}


def _log_failure(index: int, error: Exception) -> None:
    # only the type, since a message may contain a caption
    log.warning("the decoys of sample %d count as not asked: %s", index, type(error).__name__)
