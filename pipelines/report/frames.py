"""The frames that every section shares: a titled section, and a card with a chart and a note."""

from __future__ import annotations

from pipelines.report.markup import Markup, element


def section(title: str, *children: Markup | None) -> Markup:
    """A section with its heading."""
    return element("section", element("h2", title), *children)


def card(title: str, chart: Markup, note: str) -> Markup:
    """A chart with its heading and what it says."""
    return element("div", element("h3", title), chart, element("p", note, class_="soft"), class_="card")
