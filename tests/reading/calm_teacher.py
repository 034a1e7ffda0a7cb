"""The small teacher without its accidents, because untrusted captions contain words like `deadly`."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipelines.label.teacher_spec import Factories
from schemas.labeler import Labeler, PreparedSample
from schemas.records import Sample
from tests.engine.small_teacher import SmallLabeler, finder, finder_digest, labeler_digest

HERE = "tests.reading.calm_teacher"
CALM = Factories(f"{HERE}:labeler", f"{HERE}:finder", f"{HERE}:labeler_digest", f"{HERE}:finder_digest")
__all__ = ["CALM", "finder", "finder_digest", "labeler", "labeler_digest"]


class CalmLabeler(SmallLabeler):
    """A teacher that never reads a caption, only its phrases."""

    def prepare(self, sample: Sample, image_rgb_u8: np.ndarray) -> PreparedSample:
        return super().prepare(sample.model_copy(update={"caption": ""}), image_rgb_u8)


def labeler(settings: dict[str, Any], batch_size: int, min_score: float) -> Labeler:
    return CalmLabeler({}, labeler_digest(settings), batch_size, min_score)
