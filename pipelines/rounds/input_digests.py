"""What a round reads beside what its own steps made, known by content: a path alone does not say what lies there.

Its promise: a step whose gold, suite or data was put aside for other data under the same name is done again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from engine.settings import StorageSettings
from engine.views import open_view
from pipelines.rounds.settings import RoundsConfig
from schemas.errors import NotFoundError
from student.settings.train import TrainSettings


def compiled_with(config: RoundsConfig) -> list[str]:
    """Of the gold that boxes are compared with, then of the gold that goes before the teacher."""
    masks = () if config.policy.gold is None else config.policy.gold.urls
    return [content_digest(url) for url in (config.gold, *masks)]


def trained_on(trainings: Iterable[TrainSettings], view: str) -> list[str]:
    """Of every stream but the round's view, in order."""
    streams = (stream for settings in trainings for stream in settings.streams if stream.url != view)
    return [content_digest(stream.url, stream.storage) for stream in streams]


def measured_on(config: RoundsConfig) -> list[str]:
    """Of every suite's gold, in order."""
    return [content_digest(suite.gold) for suite in config.evaluate]


def content_digest(place: str, storage: StorageSettings | None = None) -> str:
    """`sha256:<hex>` of a view's or gold's rows, or of a JSON file's bytes. Raises NotFoundError."""
    if not place.endswith(".json"):
        return open_view(place, storage).manifest.digest
    if not Path(place).is_file():
        raise NotFoundError(f"{place}: no such file")
    with Path(place).open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
