"""The report page of a round."""

from __future__ import annotations

from pathlib import Path

from pipelines.reporting import sections, verdict
from pipelines.reporting.data import ReportData
from pipelines.reporting.examples import draw_example
from pipelines.reporting.loop_diagram import draw_loop
from pipelines.reporting.rendering import render, write_document


def write_report(data: ReportData, path: str | Path) -> None:
    """Write the page atomically. The same data gives the same bytes."""
    write_document(render_page(data), path)


def render_page(data: ReportData) -> str:
    """Return the page as text. A section without data is omitted."""
    return render(
        "report.html",
        title=data.title,
        data=data,
        outcome=verdict.find_outcome(data),
        headline=verdict.headline(data),
        sentences=verdict.list_sentences(data),
        tiles=sections.list_tiles(data),
        loop_picture=draw_loop(data.loop),
        models=sections.make_model_table(data),
        figures=[draw_example(example) for example in data.examples],
        has_ignored=any(box.ignored for example in data.examples for box in example.boxes),
        label_cards=sections.list_label_cards(data),
        audit=data.audit,
        audit_card=sections.make_audit_card(data),
        decoy_card=sections.make_decoy_card(data),
        training_cards=sections.list_training_cards(data),
    )
