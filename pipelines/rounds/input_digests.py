"""Digests of the inputs of a round's steps that no step made: gold, suites, other streams.

A step is done again when such an input was replaced by other data under the same path.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from engine.settings import StorageSettings
from engine.views import open_view
from pipelines.compile.policy import Policy
from pipelines.rounds.settings import RoundsConfig
from schemas.errors import NotFoundError
from student.settings.train import TrainSettings


def digest_compile_inputs(config: RoundsConfig, policy: Policy) -> list[str]:
    """Return the digests of the gold that boxes are compared with, then of the gold that overrides the teacher."""
    masks = () if policy.gold is None else policy.gold.urls
    return [compute_content_digest(url) for url in (config.gold, *masks)]


def digest_training_inputs(trainings: Iterable[TrainSettings], view: str) -> list[str]:
    """Return the digest of every stream except the round's view, in order."""
    streams = (stream for settings in trainings for stream in settings.streams if stream.url != view)
    return [compute_content_digest(stream.url, stream.storage) for stream in streams]


def digest_evaluation_inputs(config: RoundsConfig) -> list[str]:
    """Return the digest of every suite's gold, in order."""
    return [compute_content_digest(suite.gold) for suite in config.evaluate]


def compute_content_digest(place: str, storage: StorageSettings | None = None) -> str:
    """Return `sha256:<hex>` of the rows of a view or gold, or of the bytes of a JSON file. Raises NotFoundError."""
    if not place.endswith(".json"):
        return open_view(place, storage).manifest.digest
    if not Path(place).is_file():
        raise NotFoundError(f"{place} does not exist; give a JSON file or a folder of gold")
    with Path(place).open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
