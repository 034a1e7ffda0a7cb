"""Names of a detector's classes in the metadata of an ONNX file."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from schemas.errors import ConfigError

_KEYS = ("names", "class_names", "classes", "labels", "categories")
_MAX_LENGTH = 1 << 20
# Pascal VOC's words for classes of COCO, without blanks.
_SAME_AS = {"aeroplane": "airplane", "motorbike": "motorcycle", "sofa": "couch", "tvmonitor": "tv"}


def read_metadata_names(metadata: Mapping[str, str], path: object) -> tuple[tuple[str, ...], str] | None:
    """Return the names and where they come from, None if nothing names the classes.

    raises: ConfigError for an entry that is not a list of names
    """
    texts = {key: text for key in _KEYS if (text := metadata.get(key, "").strip())}
    # `classes: 80` names nothing
    key = next(
        (key for key, text in texts.items() if not text.isdigit() and text not in ("null", "None")), None
    )
    if key is None:
        return None
    source = f"the metadata {key!r} of {path}"
    return parse_names(_parse_entry(texts[key]), source), source


def parse_names(value: object, source: str) -> tuple[str, ...]:
    """Return names from a list, from `{0: name, ...}`, or from either under the key `names`. Raises ConfigError."""
    if isinstance(value, dict) and "names" in value:
        value = value["names"]
    if isinstance(value, dict):
        by_number = {str(key): name for key, name in value.items()}
        value = [by_number.get(str(number)) for number in range(len(by_number))]
    names = (
        [name.strip() if isinstance(name, str) else name for name in value]
        if isinstance(value, list | tuple)
        else []
    )
    bad = next((number for number, name in enumerate(names) if not isinstance(name, str) or not name), None)
    if bad is not None or not names:
        what = "this is not a list of names" if not names else f"class {bad} has no name"
        raise ConfigError(
            f"{source}: {what}; expected one name for each class: lines, a list, or an object {{0: name, 1: name, ...}}"
        )
    return tuple(str(name) for name in names)


def fold_name(name: str) -> str:
    """Return a name without case, blanks and signs, and COCO's word for Pascal VOC's."""
    key = re.sub(r"[\W_]+", "", name.casefold())
    return _SAME_AS.get(key, key)


def find_first_difference(names: Sequence[str], others: Sequence[str]) -> int | None:
    """Return the first class whose names differ by more than case, blanks or synonym, None if there is none."""
    if len(names) != len(others):
        return min(len(names), len(others))
    return next((n for n, (a, b) in enumerate(zip(names, others)) if fold_name(a) != fold_name(b)), None)


def _parse_entry(text: str) -> object:
    """Parse an entry: JSON, a Python literal as Ultralytics writes, YAML, or names separated by commas."""
    stripped = text.strip()[:_MAX_LENGTH]
    readers = (json.loads, ast.literal_eval) if stripped[0] in "[{(" else ()
    for read in (*readers, YAML(typ="safe", pure=True).load):
        try:
            value = read(stripped)
        except (YAMLError, ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        if isinstance(value, dict | list | tuple):
            return value
    if stripped[0] in "[{(":
        return None
    return [name.strip() for name in re.split(r"[\n,]", stripped) if name.strip()]
