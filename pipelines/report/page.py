"""Puts the report together: sections in reading order, one HTML file that needs nothing else.

Its promise: no script, no address, no font from elsewhere; the content policy inside the page forbids them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from pipelines.report import sections
from pipelines.report.audit_section import audit
from pipelines.report.data import ReportData
from pipelines.report.markup import Markup, element, join

STYLE = Path(__file__).parent / "style.css"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def write_report(data: ReportData, path: str | Path) -> None:
    """Write the page, whole or not at all. The same data gives the same bytes."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    draft.write_text(page(data), encoding="utf-8")
    os.replace(draft, target)


def page(data: ReportData) -> str:
    """The page as text."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", data.title),
        element("style", Markup(STYLE.read_text(encoding="utf-8"))),
    )
    body = element("body", sections.opening(data), element("main", *_present(data)), sections.closing(data))
    return "<!doctype html>\n" + element("html", head, body, lang="en") + "\n"


def _present(data: ReportData) -> Iterable[Markup]:
    """Sections that have something to show."""
    for make in (
        sections.loop,
        sections.models,
        sections.examples,
        sections.labels,
        audit,
        sections.training,
        sections.next_steps,
    ):
        content = make(data)
        if content is not None:
            yield join("\n", content)
