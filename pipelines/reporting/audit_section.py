"""What an audit found, as a section of the report: precision by stratum, who reviewed, and how."""

from __future__ import annotations

from typing import Any

from pipelines.reporting.charts import percent, whiskers
from pipelines.reporting.data import ReportData
from pipelines.reporting.markup import Markup, element, join
from pipelines.reporting.page_parts import card, section


def audit(data: ReportData) -> Markup | None:
    """What the audit found, by stratum, and who reviewed."""
    if data.audit is None:
        return None
    found = data.audit
    rows = [_estimate_row("all", found["precision"])]
    if len(found["groups"]) > 1:
        rows += [_estimate_row(name, estimate) for name, estimate in found["groups"].items()]
    rows += [_estimate_row(stratum["name"], stratum["precision"]) for stratum in found["strata"]]
    facts = element("ul", *[element("li", fact) for fact in _audit_facts(found)], class_="facts")
    cards = element(
        "div",
        card(
            "Precision of the kept boxes",
            whiskers(rows),
            "Dots with 95 % intervals; strata are ranges of score.",
        ),
        element("div", element("h3", "How it was found"), facts, class_="card"),
        class_="cards",
    )
    return section("The audit", cards)


def _audit_facts(found: dict[str, Any]) -> list[Markup | str]:
    person = found["reviewer_kind"] == "person"
    who = found["reviewer"] if person else f"{found['reviewer']}, a stand-in for a person: no one looked"
    facts: list[Markup | str] = [
        join("Reviewer: ", element("strong", who), "."),
        f"{found['reviewed']:,} of {found['population']:,} boxes reviewed, drawn with seed {found['seed']}; "
        f"{found['accepted']:,} accepted, {found['rejected']:,} rejected, {found['skipped']:,} skipped, "
        f"{found['pending']:,} pending.",
        f"Method: {found['method']}.",
        join(
            "View ",
            element("code", found["view_digest"].removeprefix("sha256:")[:16]),
            "; no other view is meant.",
        ),
    ]
    more = found["more_reviews"]
    if more["about"]:
        facts.insert(
            2, f"About {more['about']:,} more reviews would bring it to ±{percent(more['for_half_width'])}."
        )
    return facts


def _estimate_row(name: str, estimate: dict[str, Any]) -> tuple[str, float | None, float, float]:
    return name, estimate["value"], estimate["low"], estimate["high"]
