"""Types of COCO JSON as evaluation reads it: gold and detections."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from schemas.rows import PixelsRow
from student.gold.account import AccountReport

CocoId = int | str


class GoldImage(TypedDict):
    """An image of the gold."""

    id: CocoId
    file_name: NotRequired[str]
    coco_url: NotRequired[str]
    width: NotRequired[int]
    height: NotRequired[int]
    caption: NotRequired[str]
    pixels: NotRequired[PixelsRow]  # of imported gold
    image_sha256: NotRequired[str]  # of imported gold
    neg_category_ids: NotRequired[list[CocoId]]  # of federated gold: categories that are known to be absent
    not_exhaustive_category_ids: NotRequired[list[CocoId]]  # of federated gold


class GoldCategory(TypedDict):
    """A category of the gold."""

    id: CocoId
    name: str
    frequency: NotRequired[str]  # of LVIS: r, c or f
    source_ids: NotRequired[list[str]]  # of imported gold: ids in the imported file that became one category


class GoldAnnotation(TypedDict):
    """A box of the gold."""

    id: NotRequired[CocoId]
    image_id: CocoId
    category_id: CocoId
    bbox: list[float]  # x, y, width, height in pixels
    area: NotRequired[float]
    iscrowd: NotRequired[int]
    tokens_positive: NotRequired[list[list[int]]]  # spans [begin, end) of the caption


class GoldDataset(TypedDict):
    """Human gold."""

    images: list[GoldImage]
    annotations: list[GoldAnnotation]
    categories: list[GoldCategory]
    account: NotRequired[AccountReport]  # of a file: the fate of every record
    exhaustive: NotRequired[bool]
    categories_by_name: NotRequired[bool]


class CocoDetection(TypedDict):
    """A detection in COCO's form of results."""

    image_id: CocoId
    category_id: CocoId
    bbox: list[float]  # x, y, width, height in pixels
    score: float
