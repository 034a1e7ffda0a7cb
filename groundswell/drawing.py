"""A row as a picture: boxes on the image, phrases under the caption."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from engine.settings import StorageSettings
from pipelines.ground_image.images import ImageInput, decode_input
from pipelines.labels.photo import read_photo
from pipelines.labels.picture import draw_picture
from schemas.rows import EvidenceRow, ViewRow


def draw(
    row: EvidenceRow | ViewRow,
    image: ImageInput | None = None,
    *,
    max_boxes: int = 25,
    roots: Mapping[str, str] | None = None,
    storage: StorageSettings | None = None,
) -> Image.Image:
    """Draw the boxes of a row on its image, as `groundswell inspect` does.

    image:     the image, for a row whose pixels are in memory. By default it is loaded from the row's shard
    max_boxes: the best boxes that are drawn. The line at the foot counts the others
    roots:     URL prefixes of shards that moved, old to new
    raises:    ValueError if the image has another size than the row says, and as `load_image`
    """
    pixels = read_photo(row, roots, storage) if image is None else decode_input(image).rgb_u8
    height, width = pixels.shape[:2]
    if (width, height) != (row["width"], row["height"]):
        raise ValueError(
            f"the image has {width} x {height} px; the row's boxes are in a frame of "
            f"{row['width']} x {row['height']} px"
        )
    return draw_picture(row, pixels, most_boxes=max_boxes)
