"""The page of the rounds: what each came to, why it stopped, and the lineage of every model and view."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.reporting.charts import format_percent
from pipelines.reporting.markup import Markup, element
from pipelines.reporting.rendering import document, section, write_document
from pipelines.rounds.graph import lineage_picture
from pipelines.tables import Table

if TYPE_CHECKING:
    from pipelines.rounds.run import RoundsReport


def write_page(report: RoundsReport, path: Path) -> None:
    """Write the page, whole or not at all. The same report gives the same bytes."""
    rounds = [_round(number, found) for number, found in enumerate(report.rounds, start=1)]
    main = element(
        "main",
        section("Rounds", *[_table(table) for table in report.tables() if table.rows]),
        *rounds,
        section("Lineage", element("div", lineage_picture(report.lineage), class_="wide"), _digests(report)),
    )
    write_document(document("Rounds of Groundswell", _opening(report), main), path)


def _opening(report: RoundsReport) -> Markup:
    stopped = "; ".join(stop.why for stop in report.stops)
    line = (
        f"Stopped: {stopped}." if stopped else "Every round beat its control and kept what its teacher knew."
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


def _round(number: int, found: dict[str, Any]) -> Markup:
    """The facts of one round that its brakes looked at."""
    facts = list(_facts(found))
    return section(f"Round {number}", element("ul", *[element("li", fact) for fact in facts], class_="facts"))


def _facts(found: dict[str, Any]) -> list[str]:
    samples = found["label"]["samples"]
    labelled = (
        f"{samples['in']:,} samples in, {samples['labelled']:,} labelled, {samples['empty']:,} empty, "
        f"{sum(samples['rejected'].values()):,} rejected"
    )
    if "compile" not in found:
        return [labelled]
    compiled = found["compile"]
    boxes = compiled["boxes_per_image"]
    facts = [
        labelled,
        f"{compiled['regions']['kept']:,} of {compiled['regions']['regions_in']:,} regions kept; "
        f"{boxes['pseudo']:.2f} boxes on an image with a box, gold {boxes['gold']:.2f}",
    ]
    decoys = compiled["decoy_false_share"]
    facts.append(
        "no decoys were asked" if decoys is None else f"{format_percent(decoys)} of the decoys got a box"
    )
    if "audit" not in found:
        facts.append("no audit: nobody looked at these labels")
    elif found["audit"] is None or found["audit"]["precision"]["value"] is None:
        facts.append("the audit has no verdict yet")
    else:
        one = found["audit"]["precision"]
        facts.append(
            f"audit: precision {format_percent(one['value'])}, {format_percent(one['low'])} to "
            f"{format_percent(one['high'])}, by {found['audit']['reviewer']}"
        )
    return facts


def _digests(report: RoundsReport) -> Markup:
    rows = [(node.name, node.kind, node.id) for node in report.lineage.nodes]
    return _table(Table("Digests", ("what", "kind", "digest"), rows))
