"""Ids of images and categories: 7, 7.0 and "7" are one id. The evaluator gets whole numbers in their place.

A file may name its images and categories by number or by text. Results may write the same id in another form.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from student.gold.coco.types import (
    CocoDetection,
    CocoId,
    GoldAnnotation,
    GoldDataset,
    GoldImage,
)


def id_text(value: object) -> str | None:
    """Return an id as text, the same for 7, 7.0 and "7"; None for a value that is not an id."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else None
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int) else None


def parse_id(text: str) -> CocoId:
    """Return an id from its text: a whole number if it is the text of one."""
    digits = text.removeprefix("-")
    is_number = digits.isascii() and digits.isdigit() and str(int(text)) == text
    return int(text) if is_number else text


class KnownIds:
    """The ids of one kind (images or categories) in a gold."""

    def __init__(self, known: Iterable[CocoId], others: Mapping[str, CocoId] | None = None) -> None:
        """Index the ids.

        others: ids by the text of additional names for them
        """
        self._exact = {value: value for value in known}
        self._by_text: dict[str, CocoId | None] = dict(others or {})
        texts: dict[str, list[CocoId]] = {}
        for value in self._exact:
            texts.setdefault(str(id_text(value)), []).append(value)
        # two ids with one text (7 and "7") differ in their form alone
        self._by_text |= {text: same[0] if len(same) == 1 else None for text, same in texts.items()}

    def find(self, value: object) -> CocoId | None:
        """Return the id that a value means; None if it means none."""
        text = id_text(value)
        if text is None:
            return None
        if isinstance(value, int | str) and value in self._exact:
            return value
        return self._by_text.get(text)


def parse_whole(value: object) -> CocoId:
    """Return an id as a file writes it, 7.0 as 7. The value is one that `id_text` accepts."""
    return int(value) if isinstance(value, float) else value if isinstance(value, int) else str(value)


class NumberedGold:
    """A gold with whole numbers from 0 up as image and category ids, and a translation of other ids to them.

    If its ids are such numbers, they stay. The evaluator accepts no other ids. Ties between images depend on their
    order.
    """

    def __init__(self, gold: GoldDataset) -> None:
        self._images = _number_ids(image["id"] for image in gold["images"])
        self._categories = _number_ids(category["id"] for category in gold["categories"])
        self._is_same = all(
            old is new for numbers in (self._images, self._categories) for old, new in numbers.items()
        )
        self.gold = gold if self._is_same else self._translate_gold(gold)

    def translate_detections(self, rows: Sequence[CocoDetection]) -> Sequence[CocoDetection]:
        """Return detections with numbers as ids."""
        if self._is_same:
            return rows
        return [
            {
                **row,
                "image_id": self._images[row["image_id"]],
                "category_id": self._categories[row["category_id"]],
            }
            for row in rows
        ]

    def translate_groups(self, groups: Mapping[str, Sequence[CocoId]]) -> dict[str, list[CocoId]]:
        """Return the category ids of each group as numbers."""
        return {name: self._translate_categories(ids) for name, ids in groups.items()}

    def _translate_gold(self, gold: GoldDataset) -> GoldDataset:
        return {
            "images": [self._translate_image(image) for image in gold["images"]],
            "categories": [
                {**category, "id": self._categories[category["id"]]} for category in gold["categories"]
            ],
            "annotations": [self._translate_annotation(row) for row in gold["annotations"]],
        }

    def _translate_annotation(self, row: GoldAnnotation) -> GoldAnnotation:
        return {
            **row,
            "image_id": self._images[row["image_id"]],
            "category_id": self._categories[row["category_id"]],
        }

    def _translate_image(self, image: GoldImage) -> GoldImage:
        translated: GoldImage = {**image, "id": self._images[image["id"]]}
        if "neg_category_ids" in image:
            translated["neg_category_ids"] = self._translate_categories(image["neg_category_ids"])
        if "not_exhaustive_category_ids" in image:
            translated["not_exhaustive_category_ids"] = self._translate_categories(
                image["not_exhaustive_category_ids"]
            )
        return translated

    def _translate_categories(self, ids: Sequence[CocoId]) -> list[CocoId]:
        """Return the numbers of categories. An id that is not a category of the gold stays as it is."""
        categories: Mapping[CocoId, CocoId] = self._categories
        return [categories.get(value, value) for value in ids]


def _number_ids(ids: Iterable[CocoId]) -> dict[CocoId, int]:
    known = list(ids)
    if all(isinstance(value, int) and 0 <= value < 2**63 for value in known):
        return {value: value for value in known if isinstance(value, int)}
    return {value: number for number, value in enumerate(known)}
