"""Boxes of foreign files as half-open xyxy pixels, repaired or refused with a code."""

from __future__ import annotations

import math
from typing import Literal, TypeGuard

import numpy as np
from pydantic import JsonValue

from student.gold.account import RecordError

Box = tuple[float, float, float, float]
Form = Literal["xywh", "xyxy"]

ROUNDING_PX = 0.01  # files keep two decimals: x + w may miss the border by that much


def read_box(value: JsonValue, form: Form, width: float, height: float, repairs: set[str]) -> Box:
    """Return a box inside [0, width] x [0, height], from four numbers of a record.

    repairs: gets the codes of what was repaired
    Raises RecordError box_not_numbers, box_negative, box_empty.
    """
    x0, y0, x1, y1 = _parse_numbers(value)
    if form == "xywh":
        if x1 < 0 or y1 < 0:
            raise RecordError("box_negative", f"{value}")
        x1, y1 = x0 + x1, y0 + y1
    elif x1 < x0 or y1 < y0:
        repairs.add("corners_swapped")
        x0, x1 = sorted((x0, x1))
        y0, y1 = sorted((y0, y1))
    box = (x0, y0, x1, y1)
    inside = round_to_float32((max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))))
    if not (inside[0] < inside[2] and inside[1] < inside[3]):
        raise RecordError("box_empty", f"{value} in {width:g} x {height:g} px")
    if any(abs(a - b) > ROUNDING_PX for a, b in zip(round_to_float32(box), inside)):
        repairs.add("box_clipped")
    return inside


def _parse_numbers(value: JsonValue) -> list[float]:
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
