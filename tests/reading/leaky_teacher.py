"""A teacher that leaks secrets of its environment in an error and on stderr."""

from __future__ import annotations

import os
import sys
from typing import Any

from pipelines.label.teacher_spec import Factories
from schemas.labeler import Labeler
from schemas.records import Region, Sample
from tests.engine.small_teacher import SmallLabeler, finder, finder_digest, labeler_digest

HERE = "tests.reading.leaky_teacher"
LEAKY = Factories(f"{HERE}:labeler", f"{HERE}:finder", f"{HERE}:labeler_digest", f"{HERE}:finder_digest")
__all__ = ["LEAKY", "finder", "finder_digest", "labeler", "labeler_digest"]
TOLD = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "HF_TOKEN", "RAY_AUTH_TOKEN")


class LeakyLabeler(SmallLabeler):
    """Raises an error with every secret that it finds, for captions with `explode`."""

    def _regions(self, sample: Sample, image: Any) -> list[Region]:
        if "explode" in sample.caption:
            secrets = " ".join(os.environ.get(name, "") for name in TOLD)
            raise ValueError(
                f"403 for https://me:{os.environ['PROXY_PASSWORD']}@proxy/?sig=c4n4ry-query {secrets}"
            )
        return super()._regions(sample, image)


def labeler(settings: dict[str, Any], batch_size: int, min_score: float) -> Labeler:
    print("starting with", *(os.environ.get(name, "") for name in TOLD), file=sys.stderr, flush=True)
    return LeakyLabeler({}, labeler_digest(settings), batch_size, min_score)
