"""The image of a row, as upright RGB, and the forms in which a user hands over an image."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from engine.settings import StorageSettings
from pipelines.ground_image.images import ImageInput
from pipelines.labels.photo import read_photo
from schemas.rows import EvidenceRow, ViewRow

__all__ = ["ImageInput", "load_image"]


def load_image(
    row: EvidenceRow | ViewRow,
    *,
    roots: Mapping[str, str] | None = None,
    storage: StorageSettings | None = None,
) -> Image.Image:
    """Load the image of a row from its shard: upright RGB, the frame of the row's boxes.

    roots:  URL prefixes of shards that moved, old to new, e.g. {"s3://a/": "/mnt/a/"}
    raises: NotFoundError if the shard is gone, ConflictError if the image changed since it was labeled
    """
    return Image.fromarray(read_photo(row, roots, storage))
