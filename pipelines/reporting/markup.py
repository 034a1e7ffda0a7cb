"""Elements of HTML and SVG as values. Text and attributes are escaped by MarkupSafe.

A caption or a phrase is text on the page and never markup, whatever it contains.
"""

from __future__ import annotations

import re

from markupsafe import Markup, escape

__all__ = ["Markup", "clean_text", "element", "isolate", "join"]

_VOID = {"img", "meta", "br", "rect", "line", "circle", "path", "polyline", "polygon"}
# XML does not allow these. Browsers would show a replacement in HTML and reject the SVG.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def element(tag: str, *children: str | None, **attributes: str | float | None) -> Markup:
    """Return `<tag ...>children</tag>`. Children and attributes that are None are omitted.

    `_` in a name becomes `-`; a trailing `_` is dropped (`class_`). Floats are rounded to 0.01.
    """
    named = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_format_value(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    inner = join(*children)
    if tag in _VOID and not inner:
        return Markup(f"<{tag}{named}/>")
    return Markup(f"<{tag}{named}>{inner}</{tag}>")


def join(*children: str | None) -> Markup:
    """Concatenate children. Plain strings are escaped, None is omitted."""
    parts = (
        child if isinstance(child, Markup) else escape(clean_text(child))
        for child in children
        if child is not None
    )
    return Markup("".join(parts))


def isolate(text: str) -> Markup:
    """Return foreign text whose writing direction does not affect its surroundings."""
    return element("bdi", text)


def clean_text(text: str) -> str:
    """Replace characters that XML does not allow."""
    return _CONTROL.sub("\ufffd", text)


def _format_value(value: str | float) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return clean_text(str(value))
