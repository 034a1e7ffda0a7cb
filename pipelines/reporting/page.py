"""Puts the report together: sections in reading order."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pipelines.reporting import sections
from pipelines.reporting.audit_section import audit
from pipelines.reporting.data import ReportData
from pipelines.reporting.decoy_section import decoys
from pipelines.reporting.markup import Markup, element, join
from pipelines.reporting.page_parts import document, write_document


def write_report(data: ReportData, path: str | Path) -> None:
    """Write the page, whole or not at all. The same data gives the same bytes."""
    write_document(page(data), path)


def page(data: ReportData) -> str:
    """The page as text."""
    main = element("main", *_present(data))
    return document(data.title, sections.opening(data), main, sections.closing(data))


def _present(data: ReportData) -> Iterable[Markup]:
    """Sections that have something to show."""
    for make in (
        sections.loop,
        sections.models,
        sections.examples,
        sections.labels,
        audit,
        decoys,
        sections.training,
        sections.next_steps,
    ):
        content = make(data)
        if content is not None:
            yield join("\n", content)
