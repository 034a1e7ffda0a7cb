"""From the text of an answer to boxes. A text in another form than was asked for rejects its sample.

Nothing is guessed. Around the JSON there may be prose and a code fence. Text before `</think>` is not read.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from pydantic import JsonValue

from schemas.errors import SampleRejectedError
from teacher.vlm.questions import normalize_label
from teacher.vlm.settings import Style

BAD_ANSWER = "TEACHER_ANSWER"
MAX_CHARACTERS = 1_000_000
MAX_BOXES = 2_000
_MAX_VALUES = 100
_THINKING = "</think>"
_RELATIVE = 1000.0
_SNIPPET_CHARACTERS = 60
_JSON_BEGINS = re.compile(r"""\[\s*(?=[\[{\]"\d-])|\{\s*(?=["'}])""")

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class AnsweredBoxes:
    """Boxes by the position of their text in the question."""

    boxes: tuple[tuple[int, Box], ...]
    """xyxy as fractions of the image. May be outside of it, and their sides may be swapped."""
    unmatched: int = 0
    """Boxes of something that was not asked for."""


def read_answer(answer: str, texts: Sequence[str], style: Style, sent_size: tuple[int, int]) -> AnsweredBoxes:
    """Return the boxes of an answer.

    sent_size: (height, width) of the image that was sent
    raises: SampleRejectedError with TEACHER_ANSWER: for another form, a number that is not finite, more than MAX_BOXES
            boxes, and boxes of which none belongs to a text that was asked
    """
    if len(answer) > MAX_CHARACTERS:
        reject(f"the answer has {len(answer)} characters; expected at most {MAX_CHARACTERS}")
    items = _read_items(answer, _READERS[style])
    if len(items) > MAX_BOXES:
        reject(f"the answer has {len(items)} boxes; expected at most {MAX_BOXES}")
    height, width = sent_size if style == "qwen2.5" else (_RELATIVE, _RELATIVE)
    positions = {normalize_label(text): n for n, text in enumerate(texts)}
    found: list[tuple[int, Box]] = []
    for name, (x0, y0, x1, y1) in items:
        position = positions.get(normalize_label(name)) if isinstance(name, str) else name
        if position is not None and 0 <= position < len(texts):
            found.append((position, (x0 / width, y0 / height, x1 / width, y1 / height)))
    if items and not found:
        names = ", ".join(repr(name)[:_SNIPPET_CHARACTERS] for name, _ in items[:3])
        reject(f"none of the {len(items)} boxes is of a phrase that was asked, but of {names}")
    return AnsweredBoxes(tuple(found), len(items) - len(found))


def reject(detail: str) -> NoReturn:
    """Raise SampleRejectedError for an answer that cannot be used."""
    raise SampleRejectedError(BAD_ANSWER, detail)


_Item = tuple[str | int, Box]
"""The label or number of a box, and its four numbers."""


def _read_items(answer: str, read: Callable[[JsonValue], list[_Item] | None]) -> list[_Item]:
    """Return the items of the one JSON value of the answer that has the form. Other JSON values are prose."""
    text = answer.rpartition(_THINKING)[2]
    found: list[list[_Item]] = []
    at = 0
    for _ in range(_MAX_VALUES):
        begin = _JSON_BEGINS.search(text, at)
        if begin is None:
            break
        try:
            value, at = _DECODER.raw_decode(text, begin.start())
        except (ValueError, RecursionError) as error:
            reject(f"the answer's JSON cannot be read ({error}): {_shorten(text[begin.start() :])}")
        items = read(value)
        if items is not None:
            found.append(items)
    else:
        reject(f"the answer has {_MAX_VALUES} or more JSON values; expected one")
    if not found:
        reject(f"the answer has no list of boxes: {_shorten(text)}")
    if len(found) > 1:
        reject(f"the answer has {len(found)} lists of boxes; expected one")
    return found[0]


def _read_qwen(value: JsonValue) -> list[_Item] | None:
    """Read [{"bbox_2d": [x1, y1, x2, y2], "label": "..."}], or one such object. Return None for another value."""
    items = [value] if isinstance(value, dict) else value
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        return None
    return [_read_item(item, "label", "bbox_2d", str) for item in items if isinstance(item, dict)]


def _read_json(value: JsonValue) -> list[_Item] | None:
    """Read {"boxes": [{"phrase": 0, "box": [x0, y0, x1, y1]}]}. Return None for another value."""
    items = value.get("boxes") if isinstance(value, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        return None
    return [_read_item(item, "phrase", "box", int) for item in items if isinstance(item, dict)]


_READERS: dict[Style, Callable[[JsonValue], list[_Item] | None]] = {
    "qwen2.5": _read_qwen,
    "qwen3": _read_qwen,
    "json": _read_json,
}


def _read_item(
    item: Mapping[str, JsonValue], name_field: str, box_field: str, name_type: type[str] | type[int]
) -> _Item:
    name, sides = item.get(name_field), item.get(box_field)
    if not isinstance(name, name_type) or isinstance(name, bool):
        reject(f"a box has {name_field} {_shorten(repr(name))}; expected {name_type.__name__}")
    if not isinstance(sides, list) or len(sides) != 4:
        reject(f"a box has {box_field} {_shorten(repr(sides))}; expected four numbers")
    x0, y0, x1, y1 = (_read_number(side) for side in sides)
    return name, (x0, y0, x1, y1)


def _read_number(value: JsonValue) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        reject(f"a side of a box is {_shorten(repr(value))}; expected a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        reject(f"a side of a box is {_shorten(repr(value))}; expected a finite number")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _shorten(text: str) -> str:
    return text if len(text) <= _SNIPPET_CHARACTERS else text[:_SNIPPET_CHARACTERS] + "..."


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
