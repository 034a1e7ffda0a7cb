"""The best regions of a phrase, for the rules that cap their number."""

from __future__ import annotations

import numpy as np

from pipelines.compile.region_batch import RegionBatch
from pipelines.compile.rule import Decisions_R, drop


def drop_all_but_best(batch: RegionBatch, most: int | None) -> Decisions_R:
    """Drop all but the `most` best regions of each phrase. Ties go to the earlier region; None keeps all."""
    flags_R = np.zeros(len(batch), dtype=bool)
    if most is not None:
        for own in batch.iter_phrases():
            flags_R[own[np.argsort(-batch.scores_R[own], kind="stable")[most:]]] = True
    return drop(flags_R)
