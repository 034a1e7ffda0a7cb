"""Boxes of foreign files as half-open xyxy pixels, repaired or refused with a code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeGuard

import numpy as np
from pydantic import JsonValue

from student.gold.account import RecordError

Box = tuple[float, float, float, float]
BoxForm = Literal["xyxy", "xywh", "cxcywh"]
BoxUnit = Literal["px", "fraction"]

ROUNDING_PX = 0.01  # files keep two decimals: x + w may miss the border by that much


@dataclass(frozen=True)
class BoxConvention:
    """What the four numbers of a box mean.

    form: two corners, a corner and sides, or a center and sides
    unit: pixels, or fractions of the image's sides
    """

    form: BoxForm
    unit: BoxUnit = "px"

    def __str__(self) -> str:
        return f"{self.form} {self.unit}"


def read_box(
    value: JsonValue, convention: BoxConvention | BoxForm, width: float, height: float, repairs: set[str]
) -> Box:
    """Return a box inside [0, width] x [0, height] as xyxy pixels, from four numbers of a record.

    convention:    a form alone is in pixels
    width, height: of the image in pixels; 0 if they are not known, then nothing is cut off
    repairs:       gets the codes of what was repaired
    Raises RecordError box_not_numbers, box_negative, box_empty; size_bad for fractions of an unknown size.
    """
    convention = BoxConvention(convention) if isinstance(convention, str) else convention
    numbers = parse_box_numbers(value)
    if convention.form != "xyxy" and min(numbers[2:]) < 0:
        raise RecordError("box_negative", f"{value}")
    if convention.unit == "fraction" and not (width and height):
        raise RecordError("size_bad", "the box is a fraction of a size that is not known")
    box = place_box(numbers, convention, width, height)
    if box[2] < box[0] or box[3] < box[1]:
        repairs.add("corners_swapped")
        (x0, x1), (y0, y1) = sorted((box[0], box[2])), sorted((box[1], box[3]))
        box = (x0, y0, x1, y1)
    limits = (float(width) or math.inf, float(height) or math.inf)
    inside = round_to_float32(
        (max(box[0], 0.0), max(box[1], 0.0), min(box[2], limits[0]), min(box[3], limits[1]))
    )
    if not (inside[0] < inside[2] and inside[1] < inside[3]):
        raise RecordError("box_empty", f"{value} in {width:g} x {height:g} px")
    if any(abs(a - b) > ROUNDING_PX for a, b in zip(round_to_float32(box), inside)):
        repairs.add("box_clipped")
    return inside


def place_box(numbers: Sequence[float], convention: BoxConvention, width: float, height: float) -> Box:
    """Return four numbers as xyxy pixels, neither cut nor sorted."""
    a, b, c, d = numbers
    if convention.unit == "fraction":
        a, b, c, d = a * width, b * height, c * width, d * height
    if convention.form == "xywh":
        return a, b, a + c, b + d
    if convention.form == "cxcywh":
        return a - c / 2, b - d / 2, a + c / 2, b + d / 2
    return a, b, c, d


def parse_box_numbers(value: JsonValue) -> list[float]:
    """Return the four numbers of a box. Raises RecordError box_not_numbers."""
    sides = value if isinstance(value, list | tuple) else []
    numbers = [float(side) for side in sides if is_number(side)]
    if not len(sides) == len(numbers) == 4:
        raise RecordError("box_not_numbers", f"{value!r}")
    return numbers


def is_number(value: JsonValue) -> TypeGuard[int | float]:
    """Return whether a JSON value is a finite number in the range of pixels. Booleans are not numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -1e9 < value < 1e9 if isinstance(value, int) else math.isfinite(value) and abs(value) < 1e9


def round_to_float32(box: Box) -> Box:
    """Return the box as a table stores it."""
    x0, y0, x1, y1 = (float(np.float32(side)) for side in box)
    return x0, y0, x1, y1


def scale_box(box: Box, x: float, y: float) -> Box:
    """Return the box in an image that is x times as wide and y times as high."""
    return box[0] * x, box[1] * y, box[2] * x, box[3] * y


def rotate_box(box: Box, orientation: int, width: float, height: float) -> Box:
    """Return the box after the rotation that an EXIF orientation asks for.

    width, height: of the image before the rotation
    """
    x0, y0, x1, y1 = box
    mirrored_x, mirrored_y = (width - x1, width - x0), (height - y1, height - y0)
    xs, ys = (x0, x1), (y0, y1)
    new_xs, new_ys = {
        1: (xs, ys),
        2: (mirrored_x, ys),
        3: (mirrored_x, mirrored_y),
        4: (xs, mirrored_y),
        5: (ys, xs),
        6: (mirrored_y, xs),
        7: (mirrored_y, mirrored_x),
        8: (ys, mirrored_x),
    }[orientation]
    return new_xs[0], new_ys[0], new_xs[1], new_ys[1]
