"""Elements of HTML and SVG as values: text and attributes are escaped here and nowhere else.

Its promise: a caption or a phrase, however written, is text on the page and never markup.
"""

from __future__ import annotations

import re
from html import escape

_VOID = {"img", "meta", "br", "rect", "line", "circle", "path", "polyline", "polygon"}
# not allowed in XML at all; browsers would show a replacement in HTML and refuse the SVG
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class Markup(str):
    """Text that is markup already."""


def element(tag: str, *children: Markup | str | None, **attributes: object) -> Markup:
    """`<tag ...>children</tag>`; None children and attributes are left out.

    Names are written with `_` for `-`; a trailing `_` is dropped (`class_`). Floats are rounded to 0.01.
    """
    named = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_value(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    inner = join(*children)
    if tag in _VOID and not inner:
        return Markup(f"<{tag}{named}/>")
    return Markup(f"<{tag}{named}>{inner}</{tag}>")


def join(*children: Markup | str | None) -> Markup:
    """Children one after the other, plain strings escaped."""
    parts = (
        child if isinstance(child, Markup) else escape(_clean(child))
        for child in children
        if child is not None
    )
    return Markup("".join(parts))


def isolated(text: str) -> Markup:
    """Text of strangers: its writing direction cannot leak into the page."""
    return element("bdi", text)


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return _clean(str(value))


def _clean(text: str) -> str:
    return _CONTROL.sub("\ufffd", text)
