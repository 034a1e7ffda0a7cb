"""Write the HTML page of the rounds: the results of each, why it stopped, and the lineage of models and views."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from pipelines.report_base import Table
from pipelines.reporting.charts import format_percent
from pipelines.reporting.markup import Markup, element
from pipelines.reporting.rendering import document, section, write_document
from pipelines.rounds.graph import draw_lineage
from pipelines.rounds.report import RoundsReport
from pipelines.rounds.results import RoundResults


def write_page(report: RoundsReport, path: Path) -> None:
    """Write the page atomically. The same report gives the same bytes."""
    rounds = [
        _round(number, cast(RoundResults, results)) for number, results in enumerate(report.rounds, start=1)
    ]
    main = element(
        "main",
        section("Rounds", *[_table(table) for table in report.tables() if table.rows]),
        *rounds,
        section("Lineage", element("div", draw_lineage(report.lineage), class_="wide"), _digests(report)),
    )
    write_document(document("Rounds of Groundswell", _opening(report), main), path)


def _opening(report: RoundsReport) -> Markup:
    stopped = "; ".join(stop.why for stop in report.stops)
    line = (
        f"Stopped: {stopped}."
        if stopped
        else "Every student is better than its control and passed its guards."
    )
    title = f"{report.finished} of {report.wanted} rounds promoted a student"
    return element(
        "header",
        element("h1", title),
        element("p", line, class_="lead"),
        class_="lost" if stopped else "won",
    )


def _table(table: Table) -> Markup:
    head = element("tr", *[element("th", name) for name in table.header])
    rows = [
        element("tr", element("th", row[0]), *[element("td", cell) for cell in row[1:]]) for row in table.rows
    ]
    whole = element("table", element("thead", head), element("tbody", *rows))
    return element("div", element("h3", table.title), whole, class_="wide")


def _round(number: int, results: RoundResults) -> Markup:
    """Return the section of one round, with the facts that its stop rules use."""
    facts = list(_facts(results))
    return section(f"Round {number}", element("ul", *[element("li", fact) for fact in facts], class_="facts"))


def _facts(results: RoundResults) -> list[str]:
    samples = results["label"]["samples"]
    labeled = (
        f"{samples['in']:,} samples in, {samples['labelled']:,} labeled, {samples['empty']:,} empty, "
        f"{sum(samples['rejected'].values()):,} rejected"
    )
    if "compile" not in results:
        return [labeled]
    compiled = results["compile"]
    boxes = compiled["boxes_per_image"]
    facts = [
        labeled,
        f"{compiled['regions']['kept']:,} of {compiled['regions']['regions_in']:,} regions kept; "
        f"{boxes['pseudo']:.2f} boxes per image with a box, gold {boxes['gold']:.2f}",
    ]
    decoys = compiled["decoy_false_share"]
    facts.append("no decoys" if decoys is None else f"{format_percent(decoys)} of the decoys got a box")
    facts.append(_describe_audit(results))
    return facts


def _describe_audit(results: RoundResults) -> str:
    if "audit" not in results:
        return "no audit: nobody reviewed these labels"
    audit = results["audit"]
    if audit is None:
        return "the audit has no verdict yet"
    precision = audit["precision"]
    value, low, high = precision["value"], precision["low"], precision["high"]
    if value is None or low is None or high is None:
        return "the audit has no verdict yet"
    interval = f"{format_percent(low)} to {format_percent(high)}"
    return f"audit: precision {format_percent(value)}, {interval}, by {audit['reviewer']}"


def _digests(report: RoundsReport) -> Markup:
    rows = [(node.name, node.kind, node.id) for node in report.lineage.nodes]
    return _table(Table("Digests", ("what", "kind", "digest"), rows))
