"""The contents of the report's sections: numbers as text, and charts. The templates place them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipelines.quality.decoys import DecoyShare
from pipelines.reporting.charts import (
    Line,
    draw_bars,
    draw_histogram,
    draw_lines,
    draw_whiskers,
    format_percent,
    format_signed,
)
from pipelines.reporting.data import METRICS, Interval, ModelRow, ReportData, ThresholdLine
from pipelines.reporting.markup import Markup
from pipelines.reporting.verdict import find_sign

_GROUP_STYLES = ("first", "second", "third")
_NO_NUMBER = "–"


@dataclass(frozen=True)
class Tile:
    """One headline number."""

    name: str
    number: str
    note: str


@dataclass(frozen=True)
class Card:
    """A chart with its heading and a note."""

    title: str
    chart: Markup
    note: str


@dataclass(frozen=True)
class Cell:
    """One number of a table, its interval and its style."""

    text: str
    limits: str | None = None
    style: str | None = None


@dataclass(frozen=True)
class ModelTableRow:
    """One row of the table of models."""

    name: str
    note: str
    style: str
    cells: Sequence[Cell]


@dataclass(frozen=True)
class ModelTable:
    """Teacher, control and student, and the paired differences."""

    headings: Sequence[str]
    rows: Sequence[ModelTableRow]


def list_tiles(data: ReportData) -> list[Tile]:
    """Return the numbers at the head of the page."""
    tiles = []
    for metric, name in (("tail", "AP on rare concepts"), ("head", "AP on frequent concepts")):
        rows = {row.model: row.metrics.get(metric) for row in data.models}
        if rows.get("student") and rows.get("control"):
            numbers = f"{_format_points(rows['control'])} → {_format_points(rows['student'])}"
            tiles.append(Tile(name, numbers, "control → student"))
    if data.audit is not None and (value := data.audit["precision"]["value"]) is not None:
        found = data.audit["precision"]
        limits = f"{format_percent(found['low'])} to {format_percent(found['high'])}"
        tiles.append(Tile("Label precision", format_percent(value), f"audit, {limits}"))
    kept, seen = data.loop.kept_regions, data.loop.evidence_regions
    return [*tiles, Tile("Boxes kept", f"{kept:,}", f"of {seen:,} seen")]


def make_model_table(data: ReportData) -> ModelTable | None:
    """Return the table of models; None without models."""
    if not data.models:
        return None
    columns = [name for name in METRICS if any(name in row.metrics for row in data.models)]
    rows = [_make_model_row(row, columns) for row in data.models]
    if any(name in data.gains for name in columns):
        gains = [_make_gain_cell(data.gains.get(name)) for name in columns]
        rows.append(ModelTableRow("Student − control", "paired", "gain", gains))
    return ModelTable([METRICS[name] for name in columns], rows)


def _make_model_row(row: ModelRow, columns: Sequence[str]) -> ModelTableRow:
    cells = [_make_cell(row.metrics.get(column)) for column in columns]
    return ModelTableRow(row.model.capitalize(), row.note, row.model, cells)


def _make_cell(number: Interval | None) -> Cell:
    if number is None or number.value is None:
        return Cell(_NO_NUMBER)
    return Cell(_format_points(number), _format_limits(number, lambda value: f"{100 * value:.1f}"))


def _make_gain_cell(number: Interval | None) -> Cell:
    if number is None or number.value is None:
        return Cell(_NO_NUMBER)
    style = {1: "up", -1: "down", 0: None}[find_sign(number)]
    return Cell(format_signed(number.value), _format_limits(number, format_signed), style)


def _format_limits(number: Interval, show: Callable[[float], str]) -> str | None:
    if number.low is None or number.high is None:
        return None
    return f"{show(number.low)} to {show(number.high)}"


def _format_points(number: Interval | None) -> str:
    return _NO_NUMBER if number is None or number.value is None else f"{100 * number.value:.1f}"


def list_label_cards(data: ReportData) -> list[Card]:
    """Return the charts of scores, threshold and policy."""
    cards = []
    if data.scores is not None:
        s = data.scores
        pale = ", pale blue to ignore" if any(s.ignored) else ""
        note = f"Blue kept{pale}, gray dropped. {s.score_kind}".strip()
        chart = draw_histogram(s.kept, s.dropped, s.low, s.high, data.threshold, ignored=s.ignored)
        cards.append(Card("Scores of the evidence", chart, note))
    if data.thresholds:
        chart = draw_lines(
            [
                _make_threshold_line(line, style)
                for line, style in zip(data.thresholds, _GROUP_STYLES, strict=False)
            ],
            x_title="score threshold",
            y_title="precision",
            y_range=(0, 1),
            y_label=format_percent,
            mark=data.threshold,
        )
        note = "Against the tiny world's truth: phrase present and IoU of at least 0.5. Bands are 95 % intervals."
        cards.append(Card("Precision against threshold", chart, note))
    if data.policy:
        rows = [
            (f"{step.operation} {step.setting}".strip(), float(step.regions_after), f"{step.regions_after:,}")
            for step in data.policy
        ]
        rows.insert(0, ("evidence", float(data.loop.evidence_regions), f"{data.loop.evidence_regions:,}"))
        note = "Regions kept after each operation; no GPU needed."
        cards.append(Card("What the policy kept", draw_bars(rows), note))
    return cards


def _make_threshold_line(line: ThresholdLine, style: str) -> Line:
    points = [point for point in line.points if point.precision.value is not None]
    whole = all(point.precision.low is not None and point.precision.high is not None for point in points)
    return Line(
        name=line.name,
        style=style,
        xs=[point.threshold for point in points],
        ys=[point.precision.value or 0.0 for point in points],
        band=[(point.precision.low or 0.0, point.precision.high or 0.0) for point in points] if whole else (),
    )


def list_training_cards(data: ReportData) -> list[Card]:
    """Return the charts of losses and times."""
    cards = []
    if data.curves:
        lines = [Line(curve.model, curve.model, curve.steps, curve.loss) for curve in data.curves]
        chart = draw_lines(lines, x_title="training step", y_title="loss")
        note = "Each is over its own data, so the losses of control and student do not compare."
        cards.append(Card("Training loss", chart, note))
    if data.timings:
        rows = [
            (timing.step, timing.seconds, f"{timing.seconds:.0f} s" + (" (earlier)" if timing.cached else ""))
            for timing in data.timings
        ]
        total = sum(timing.seconds for timing in data.timings)
        cards.append(Card("Where the time went", draw_bars(rows), f"{total:.0f} s of work in all."))
    return cards


def make_audit_card(data: ReportData) -> Card | None:
    """Return the precision by group and stratum; None without an audit."""
    if data.audit is None:
        return None
    found = data.audit
    estimates = {"all": found["precision"]}
    if len(found["groups"]) > 1:
        estimates |= found["groups"]
    named = [*estimates.items(), *((stratum["name"], stratum["precision"]) for stratum in found["strata"])]
    rows = [(name, estimate["value"], estimate["low"], estimate["high"]) for name, estimate in named]
    note = "Dots with 95 % intervals; strata are ranges of score."
    return Card("Precision of the kept boxes", draw_whiskers(rows), note)


def make_decoy_card(data: ReportData) -> Card | None:
    """Return the shares of decoys with a box, by frequency; None without decoys."""
    if data.decoys is None:
        return None
    found = data.decoys
    rows = [_make_decoy_row("all", found.all)]
    rows += [_make_decoy_row(f"in {name} captions", one) for name, one in found.by_frequency.items()]
    note = (
        f"{found.all.asked:,} decoys on {found.images:,} images, {found.all.with_box:,} with a box at or above "
        f"{found.min_score:g}. Dots with 95 % intervals. Believed absent, not known to be: a caption leaves things "
        "out, so this is not a rate of mistakes."
    )
    return Card("Decoys with a box", draw_whiskers(rows), note)


def _make_decoy_row(name: str, found: DecoyShare) -> tuple[str, float | None, float, float]:
    return name, found.share, found.low, found.high
