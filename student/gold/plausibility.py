"""What the boxes of a whole file say about their convention.

A single box is rarely impossible. But if many boxes of a file leave their images as the format reads them, and all fit
in another convention, the file is not what the format says. Its numbers would be wrong without a sign of it.
"""

from __future__ import annotations

from collections import Counter

from pydantic import JsonValue

from student.gold.account import RecordError
from student.gold.boxes import Box, BoxConvention, is_number, parse_box_numbers, place_box

_OUTSIDE_PX = 2.0  # rounding, and annotators who drag over the border
_OUTSIDE_SHARE = 0.1
_MIN_OUTSIDE = 3
_LARGEST_FRACTION = 2
_AREA_SHARE = 0.9
_AREA_TOLERANCE = 0.01
_FORMS = (BoxConvention("xyxy"), BoxConvention("xywh"), BoxConvention("cxcywh"))


class BoxSurvey:
    """Counts, over a file, in which conventions its boxes are possible."""

    def __init__(self, convention: BoxConvention) -> None:
        self._convention = convention
        self._others = [form for form in _FORMS if form != convention]
        self._boxes = self._fractions = self._pixels = self._with_area = 0
        self._outside: Counter[str] = Counter()
        self._turned: Counter[str] = Counter()
        self._area_agrees: Counter[str] = Counter()

    def add(self, value: JsonValue, width: int, height: int, area: JsonValue = None) -> None:
        """Count a box of an image of this size. A box that is not four numbers is not counted.

        area: of the record, in square pixels, if it states one
        """
        try:
            numbers = parse_box_numbers(value)
        except RecordError:
            return
        self._boxes += 1
        self._fractions += max(map(abs, numbers)) <= 1
        self._pixels += max(map(abs, numbers)) > _LARGEST_FRACTION
        for form in (self._convention, *self._others):
            box = place_box(numbers, form, width, height)
            self._outside[str(form)] += not _fits(box, width, height)
            self._turned[str(form)] += box[2] < box[0] or box[3] < box[1]
        exchanged = place_box(numbers, self._convention, height, width)
        self._outside["exchanged"] += not _fits(exchanged, height, width)
        if is_number(area) and area > 0:
            self._with_area += 1
            for form in _FORMS:
                x0, y0, x1, y1 = place_box(numbers, form, width, height)
                own = (x1 - x0) * (y1 - y0) if x1 > x0 and y1 > y0 else 0.0
                self._area_agrees[form.form] += abs(own - area) <= _AREA_TOLERANCE * area

    def describe_problem(self) -> str | None:
        """Return the evidence that the convention is another one, and the option that states it; None without."""
        if not self._boxes:
            return None
        if self._convention.unit == "px" and self._fractions == self._boxes:
            return (
                f"all {self._boxes} boxes have numbers of at most 1: they seem to be fractions of the image's sides. "
                "Give --unit fraction, or --unit px if they are pixels"
            )
        if self._convention.unit == "fraction" and self._pixels > _OUTSIDE_SHARE * self._boxes:
            return (
                f"{self._pixels} of {self._boxes} boxes have numbers above {_LARGEST_FRACTION}: they seem to be "
                "pixels, not fractions of the image's sides. Give --unit px, or --unit fraction if they are right"
            )
        return self._describe_area() or self._describe_outside()

    def _describe_area(self) -> str | None:
        own = self._area_agrees[self._convention.form]
        others = [
            form
            for form in ("xyxy", "xywh")
            if self._area_agrees[form] > _AREA_SHARE * self._with_area
            and own < (1 - _AREA_SHARE) * self._with_area
        ]
        if self._convention.unit != "px" or not self._with_area or not others:
            return None
        return (
            f"{self._area_agrees[others[0]]} of {self._with_area} boxes have the area that their record states as "
            f"{others[0]}, {own} as {self._convention.form}. Give --boxes {others[0]}, or --boxes "
            f"{self._convention.form} if the areas are wrong"
        )

    def _describe_outside(self) -> str | None:
        own = str(self._convention)
        outside, turned = self._outside[own], self._turned[own]
        # A corner box with the second corner first is no accident. One box over the border may be.
        if outside <= _OUTSIDE_SHARE * self._boxes or (outside < _MIN_OUTSIDE and not turned):
            return None
        states = f"{outside} of {self._boxes} boxes leave their image or are turned round as {own}"
        keep = f"--boxes {self._convention.form} --unit {self._convention.unit} if they are right"
        if fitting := [form for form in self._others if not self._outside[str(form)]]:
            first, names = fitting[0], " and as ".join(map(str, fitting))
            return (
                f"{states}, and all fit as {names}. Give --boxes {first.form} --unit {first.unit}, or {keep}"
            )
        if not self._outside["exchanged"]:
            return (
                f"{states}, and all fit if width and height of the images are exchanged. Exchange them in the file, or "
                f"give {keep}"
            )
        return None


def _fits(box: Box, width: int, height: int) -> bool:
    x0, y0, x1, y1 = box
    return -_OUTSIDE_PX <= x0 < x1 <= width + _OUTSIDE_PX and -_OUTSIDE_PX <= y0 < y1 <= height + _OUTSIDE_PX
