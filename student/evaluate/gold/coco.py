"""A COCO file as gold for evaluation, read by the rules of `gold import`.

A class that a refused box made unknown gets a crowd region over the whole image: a detection there is neither right nor
wrong. The same holds for imported gold, so both give the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from pydantic import JsonValue

from schemas.errors import ConfigError
from student.data.gold_account import describe_refused_boxes
from student.evaluate.gold.view import UNKNOWN_SIDE
from student.gold.account import ImportAccount, RecordError, code_of_contents
from student.gold.boxes import BoxConvention
from student.gold.coco.file import COCO_BOXES, CocoBox, CocoFile, read_image_url
from student.gold.coco.store import JsonObject
from student.gold.coco.types import GoldAnnotation, GoldCategory, GoldDataset, GoldImage
from student.gold.file_names import find_file_name
from student.gold.ids import parse_whole
from student.gold.sizes import read_size
from student.gold.spans import read_spans


def read_coco_gold(
    path: Path, convention: BoxConvention | None = None, account: ImportAccount | None = None
) -> GoldDataset:
    """Return the gold in a COCO file: ids, boxes and areas as the file has them unless they were repaired.

    convention: of the boxes, if the user states it
    account:    gets the fate of every record
    Raises NotFoundError; ConfigError for a file that cannot be measured on: no COCO file, boxes of another convention,
    ids that are off by one, or every box refused.
    """
    account = account or ImportAccount()
    gold: GoldDataset = {"images": [], "annotations": [], "categories": []}
    with CocoFile(path, account, convention) as file:
        gold["categories"] = [_make_category(category) for category in file.categories]
        reader = _Reader(file, account, gold)
        for image, annotations in file.images():
            reader.read(image, annotations)
        if file.problems:
            raise ConfigError(f"{path}: {'; '.join(file.problems)}")
    records = account.report()
    if not gold["images"]:
        raise ConfigError(
            f"{path}: no image is left to measure on; docs/gold.md explains the codes: {records}"
        )
    boxed = sum(not row.get("iscrowd") for row in gold["annotations"])
    if refused := describe_refused_boxes(boxed, records):
        raise ConfigError(f"{path} cannot be measured on: {refused}")
    gold["annotations"] += reader.make_unknown_regions()
    gold["account"] = records
    return gold


class _Reader:
    """Reads images one by one into a gold, and keeps what is unknown."""

    def __init__(self, file: CocoFile, account: ImportAccount, gold: GoldDataset) -> None:
        self._file, self._account, self._gold = file, account, gold
        self._ids = {
            key: category["id"] for key, category in zip(file.names, gold["categories"], strict=True)
        }
        self._unknown: list[tuple[GoldImage, set[str]]] = []
        self._by_picture: dict[str, list[tuple[GoldImage, set[str]]]] = {}

    def read(self, record: JsonObject, annotations: Sequence[JsonObject]) -> None:
        """Add an image and its boxes, or refuse it."""
        repairs: set[str] = set()
        try:
            size = read_size(record, repairs)
            read_image_url(record)
            lists = self._file.read_lists(record)
        except RecordError as refused:
            self._account.refuse("images", record["id"], refused.code, refused.detail)
            code = code_of_contents(refused)
            self._account.refuse("annotations", f"image {record['id']}", code, number=len(annotations))
            return
        image = self._make_image(record, size, lists)
        self._gold["images"].append(image)
        boxed, unknown = self._read_boxes(record, image, annotations, size or (0, 0))
        lost = self._file.categories_without_image
        unknown |= {key for key in self._ids if (None in lost or key in lost) and key not in boxed}
        self._unknown.append((image, unknown))
        if name := image.get("file_name"):
            self._by_picture.setdefault(name, []).append((image, boxed))
        self._account.add_unknown(len(unknown))
        self._account.keep("images", record["id"], repairs if size else {*repairs, "size_unknown"})

    def make_unknown_regions(self) -> list[GoldAnnotation]:
        """Return a crowd region over the whole image for each class that is unknown in it.

        So is a class in one record of a picture if another record of it has the class.
        """
        if self._file.is_federated:
            return []
        unknown = [(image, set(keys)) for image, keys in self._unknown]
        for records in self._by_picture.values():
            everything = set().union(*(boxed for _, boxed in records))
            unknown += [(image, everything - boxed) for image, boxed in records if len(records) > 1]
        pairs = [(image, key) for image, keys in unknown for key in sorted(keys)]
        first = len(self._gold["annotations"]) + 1
        return [
            self._make_unknown_region(image, key, number) for number, (image, key) in enumerate(pairs, first)
        ]

    def _read_boxes(
        self, record: JsonObject, image: GoldImage, annotations: Sequence[JsonObject], size: tuple[int, int]
    ) -> tuple[set[str], set[str]]:
        """Return the categories that are boxed in an image, and those that a refused box made unknown."""
        boxed: set[str] = set()
        unknown: set[str] = set()
        for annotation in annotations:
            try:
                box = self._file.read_box(annotation, record, *size)
                spans, repairs = _read_caption_spans(annotation, image)
            except RecordError as refused:
                self._account.refuse("annotations", annotation.get("id"), refused.code, refused.detail)
                key = self._file.find_category_id(annotation)
                unknown |= set(self._ids) if key is None else {key}
                continue
            boxed.add(box.category)
            self._gold["annotations"].append(self._make_annotation(annotation, image, box, spans))
            self._account.keep("annotations", annotation.get("id"), box.repairs | repairs)
        return boxed, unknown

    def _make_image(
        self, record: JsonObject, size: tuple[int, int] | None, lists: Mapping[str, list[str]]
    ) -> GoldImage:
        image: GoldImage = {"id": parse_whole(record["id"])}
        if (name := find_file_name(record)) is not None:
            image["file_name"] = name
        if size is not None:
            image["width"], image["height"] = size
        if isinstance(caption := record.get("caption"), str):
            image["caption"] = caption
        listed = {field: [self._ids[key] for key in lists[field]] for field in lists if field in record}
        image.update(cast(GoldImage, listed))
        return image

    def _make_annotation(
        self, record: JsonObject, image: GoldImage, box: CocoBox, spans: list[tuple[int, int]]
    ) -> GoldAnnotation:
        x0, y0, x1, y1 = box.box
        is_as_written = not box.repairs & {"box_clipped", "box_from_polygon"}
        written = record.get("bbox")
        bbox = [x0, y0, x1 - x0, y1 - y0]
        if is_as_written and isinstance(written, list) and self._file.convention == COCO_BOXES:
            bbox = [float(number) for number in written if isinstance(number, int | float)]
        annotation: GoldAnnotation = {
            "id": len(self._gold["annotations"]) + 1,
            "image_id": image["id"],
            "category_id": self._ids[box.category],
            "bbox": bbox,
            "iscrowd": int(box.is_crowd),
        }
        if box.area is not None and self._file.convention == COCO_BOXES:
            annotation["area"] = box.area
        if spans:
            annotation["tokens_positive"] = [list(span) for span in spans]
        return annotation

    def _make_unknown_region(self, image: GoldImage, key: str, number: int) -> GoldAnnotation:
        width, height = image.get("width", UNKNOWN_SIDE), image.get("height", UNKNOWN_SIDE)
        region = GoldAnnotation(image_id=image["id"], category_id=self._ids[key], bbox=[0, 0, width, height])
        return {**region, "id": number, "area": width * height, "iscrowd": 1}


def _read_caption_spans(
    annotation: Mapping[str, JsonValue], image: GoldImage
) -> tuple[list[tuple[int, int]], set[str]]:
    """Return the places of the caption that a box is tied to, and the codes of repairs. Raises RecordError."""
    repairs: set[str] = set()
    if not annotation.get("tokens_positive") or not image.get("caption"):
        return [], repairs
    text = annotation.get("phrase")
    texts = [text] if isinstance(text, str) and text.strip() else None
    return read_spans(annotation["tokens_positive"], image["caption"], texts, repairs), repairs


def _make_category(record: JsonObject) -> GoldCategory:
    """Return a category with all its fields: `--group-by` takes any of them."""
    return cast(GoldCategory, {**record, "id": parse_whole(record["id"])})
