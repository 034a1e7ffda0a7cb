"""Ids of images and categories: 7, 7.0 and "7" are one id, and the evaluator gets whole numbers in their place.

A file may name its images and categories by number or by text, and results may write the same id in another form.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_LISTS = ("neg_category_ids", "not_exhaustive_category_ids")
_FIELDS = ("id", "image_id", "category_id")


def id_text(value: object) -> str | None:
    """Return an id as text, the same for 7, 7.0 and "7"; None for what is no id."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else None
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int) else None


def id_of_text(text: str) -> int | str:
    """Return an id from its text: a whole number where it is the text of one."""
    digits = text.removeprefix("-")
    is_number = digits.isascii() and digits.isdigit() and str(int(text)) == text
    return int(text) if is_number else text


class Ids:
    """The ids of one kind that a gold knows."""

    def __init__(self, known: Iterable[Any], others: Mapping[str, Any] | None = None) -> None:
        """others: ids by the text of further names for them"""
        self._exact = {value: value for value in known}
        self._by_text: dict[str, Any] = dict(others or {})
        texts: dict[str, list[Any]] = {}
        for value in self._exact:
            texts.setdefault(str(id_text(value)), []).append(value)
        # two ids with one text (7 and "7") differ in their form alone
        self._by_text |= {text: same[0] if len(same) == 1 else None for text, same in texts.items()}

    def __len__(self) -> int:
        return len(self._exact)

    def find(self, value: object) -> Any:
        """Return the id that a value stands for, None where it stands for none."""
        text = id_text(value)
        if text is None:
            return None
        if value in self._exact and not isinstance(value, float):
            return value
        return self._by_text.get(text)


def with_whole_ids(gold: Any) -> Any:
    """Return a COCO object in which ids written as 1.0 are 1; anything else stays for the check to name."""
    if not isinstance(gold, dict):
        return gold
    for name in ("images", "annotations", "categories"):
        items = gold.get(name)
        for item in items if isinstance(items, list) else ():
            if isinstance(item, dict):
                _make_whole(item)
    return gold


def _make_whole(item: dict[str, Any]) -> None:
    for field in _FIELDS:
        if field in item:
            item[field] = _whole(item[field])
    for field in _LISTS:
        if isinstance(item.get(field), list):
            item[field] = [_whole(value) for value in item[field]]


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Numbered:
    """A gold whose image and category ids are whole numbers from 0 up, and what belongs to it in the same numbers.

    Ids that are so already stay: the evaluator wants no others, and ties between images go by their order.
    """

    def __init__(self, gold: Mapping[str, Any]) -> None:
        self._images = _numbers(image["id"] for image in gold["images"])
        self._categories = _numbers(category["id"] for category in gold["categories"])
        self._same = all(old is new for some in (self._images, self._categories) for old, new in some.items())
        self.gold = gold if self._same else self._gold(gold)

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """Return annotations or detections with their ids as numbers."""
        if self._same:
            return rows
        images, categories = self._images, self._categories
        return [
            {**row, "image_id": images[row["image_id"]], "category_id": categories[row["category_id"]]}
            for row in rows
        ]

    def groups(self, groups: Mapping[str, Sequence[Any]]) -> dict[str, list[int]]:
        """Return category ids by group as numbers."""
        return {name: [self._categories.get(value, value) for value in some] for name, some in groups.items()}

    def _gold(self, gold: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "images": [self._image(image) for image in gold["images"]],
            "categories": [{**c, "id": self._categories[c["id"]]} for c in gold["categories"]],
            "annotations": self.rows(gold["annotations"]),
        }

    def _image(self, image: Mapping[str, Any]) -> dict[str, Any]:
        lists = {
            field: [self._categories.get(value, value) for value in image[field]]
            for field in _LISTS
            if field in image
        }
        return {**image, "id": self._images[image["id"]], **lists}


def _numbers(ids: Iterable[Any]) -> dict[Any, int]:
    known = list(ids)
    if all(isinstance(value, int) and 0 <= value < 2**63 for value in known):
        return {value: value for value in known}
    return {value: number for number, value in enumerate(known)}
