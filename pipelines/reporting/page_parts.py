"""The frames that pages share: the document, a titled section, and a card with a chart and a note.

Its promise: no script, no address, no font from elsewhere; the content policy inside the page forbids them.
"""

from __future__ import annotations

from pathlib import Path

from engine.storage.local_files import replace_file
from pipelines.reporting.markup import Markup, element

STYLE = Path(__file__).parent / "style.css"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def document(title: str, *children: Markup | None) -> str:
    """An HTML file that needs nothing else, as text."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Markup(STYLE.read_text(encoding="utf-8"))),
    )
    return "<!doctype html>\n" + element("html", head, element("body", *children), lang="en") + "\n"


def write_document(text: str, path: str | Path) -> None:
    """Write a page, whole or not at all."""
    replace_file(path, text.encode())


def section(title: str, *children: Markup | None) -> Markup:
    """A section with its heading."""
    return element("section", element("h2", title), *children)


def card(title: str, chart: Markup, note: str) -> Markup:
    """A chart with its heading and what it says."""
    return element("div", element("h3", title), chart, element("p", note, class_="soft"), class_="card")
