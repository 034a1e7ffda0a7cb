"""Annotations in XML, as in Pascal VOC: parsed without entities, and bounded."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from student.gold.account import RecordError

MAX_FILE_BYTES = 1_000_000


def read_xml(path: Path) -> ElementTree.Element:
    """Return the annotation element.

    Raises RecordError xml_bad, also for a document type, which could define entities.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(f"more than {MAX_FILE_BYTES} bytes")
        text = path.read_bytes().decode("utf-8-sig")
        if "<!" in re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL):
            raise ValueError("a document type or CDATA")
        root = ElementTree.fromstring(text)
    except (OSError, ValueError, ElementTree.ParseError) as error:
        raise RecordError("xml_bad", f"{path.name}: {error}") from error
    if root.tag != "annotation":
        raise RecordError("xml_bad", f"{path.name}: <{root.tag}>, expected <annotation>")
    return root


def parse_number(text: str | None) -> float | None:
    """Return a number of an element's text; None if it is none, or too large to be pixels."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if abs(value) < 1e9 else None
