"""The report's sections, each from its part of the data; a section without data is None and left out."""

from __future__ import annotations

from collections.abc import Callable

from pipelines.reporting import verdict
from pipelines.reporting.charts import Line, bars, histogram, line_chart, percent, signed
from pipelines.reporting.data import METRICS, Interval, ModelRow, ReportData, ThresholdLine
from pipelines.reporting.examples import example_figure
from pipelines.reporting.loop_diagram import loop_picture
from pipelines.reporting.markup import Markup, element, join
from pipelines.reporting.page_parts import card, section

_GROUP_STYLES = ("first", "second", "third")


def opening(data: ReportData) -> Markup:
    """Who won, in a line, then the numbers behind it."""
    won = verdict.outcome(data)
    return element(
        "header",
        element("p", f"{data.title} · seed {data.seed}", class_="kicker"),
        element("h1", verdict.headline(data)),
        *[element("p", sentence, class_="lead") for sentence in verdict.sentences(data)],
        _tiles(data),
        class_=won,
    )


def _tiles(data: ReportData) -> Markup:
    tiles = []
    for metric, name in (("tail", "AP on rare concepts"), ("head", "AP on frequent concepts")):
        rows = {row.model: row.metrics.get(metric) for row in data.models}
        if rows.get("student") and rows.get("control"):
            tiles.append(
                _tile(name, f"{_points(rows['control'])} → {_points(rows['student'])}", "control → student")
            )
    if data.audit is not None and data.audit["precision"]["value"] is not None:
        found = data.audit["precision"]
        limits = f"{percent(found['low'])} to {percent(found['high'])}"
        tiles.append(_tile("Label precision", percent(found["value"]), f"audit, {limits}"))
    tiles.append(
        _tile("Boxes kept", f"{data.loop.kept_regions:,}", f"of {data.loop.evidence_regions:,} seen")
    )
    return element("div", *tiles, class_="tiles")


def _tile(name: str, number: str, note: str) -> Markup:
    return element(
        "div",
        element("p", name, class_="tile-name"),
        element("p", number, class_="number"),
        element("p", note, class_="soft"),
        class_="tile",
    )


def loop(data: ReportData) -> Markup:
    """The loop as a picture."""
    return section(
        "The loop, with this run's numbers", element("div", loop_picture(data.loop), class_="wide")
    )


def models(data: ReportData) -> Markup | None:
    """The table of teacher, control and student, and the paired differences."""
    if not data.models:
        return None
    columns = [name for name in METRICS if any(name in row.metrics for row in data.models)]
    head = element("tr", element("th", ""), *[element("th", METRICS[name], scope="col") for name in columns])
    rows = [_model_row(row, columns) for row in data.models]
    if any(name in data.gains for name in columns):
        cells = [_gain_cell(data.gains.get(name)) for name in columns]
        name = element("th", "Student − control", element("span", "paired", class_="soft"), scope="row")
        rows.append(element("tr", name, *cells, class_="gain"))
    table = element("table", element("thead", head), element("tbody", *rows))
    note = (
        f"Per cent on {data.loop.test_images:,} held-out images; beneath each number its 95 % interval. Control and "
        "student share start, steps, batch and augmentation; only the student saw the teacher's labels."
    )
    return section(
        "Teacher, control, student", element("div", table, class_="wide"), element("p", note, class_="soft")
    )


def _model_row(row: ModelRow, columns: list[str]) -> Markup:
    name = element("th", row.model.capitalize(), element("span", row.note, class_="soft"), scope="row")
    cells = [_number_cell(row.metrics.get(column)) for column in columns]
    return element("tr", name, *cells, class_=row.model)


def _number_cell(number: Interval | None) -> Markup:
    if number is None or number.value is None:
        return element("td", "–")
    return element("td", _points(number), _limits(number, lambda value: f"{100 * value:.1f}"))


def _gain_cell(number: Interval | None) -> Markup:
    if number is None or number.value is None:
        return element("td", "–")
    style = {1: "up", -1: "down", 0: None}[verdict.sign(number)]
    return element("td", signed(number.value), _limits(number, signed), class_=style)


def _limits(number: Interval, show: Callable[[float], str]) -> Markup | None:
    if number.low is None or number.high is None:
        return None
    return element("span", f"{show(number.low)} to {show(number.high)}", class_="soft")


def _points(number: Interval | None) -> str:
    return "–" if number is None or number.value is None else f"{100 * number.value:.1f}"


def examples(data: ReportData) -> Markup | None:
    """Images with boxes."""
    if not data.examples:
        return None
    ignore = [
        element("span", class_="key ignore"),
        " in the view to be ignored: neither taught nor a negative   ",
    ]
    legend = element(
        "p",
        element("span", class_="key keep"), " kept by the policy, numbered as in the list   ",
        *(ignore if any(box.ignored for example in data.examples for box in example.boxes) else []),
        element("span", class_="key drop"), " seen by the teacher and dropped (dashed)",
        class_="soft legend",
    )  # fmt: skip
    figures = element("div", *[example_figure(example) for example in data.examples], class_="gallery")
    return section("What the teacher saw, and what was kept", legend, figures)


def labels(data: ReportData) -> Markup | None:
    """Scores, threshold and policy."""
    cards = []
    if data.scores is not None:
        s = data.scores
        pale = ", pale blue to ignore" if any(s.ignored) else ""
        note = f"Blue kept{pale}, grey dropped. {s.score_kind}".strip()
        chart = histogram(s.kept, s.dropped, s.low, s.high, data.threshold, ignored=s.ignored)
        cards.append(card("Scores of the evidence", chart, note))
    if data.thresholds:
        chart = line_chart(
            [_threshold_line(line, style) for line, style in zip(data.thresholds, _GROUP_STYLES, strict=False)],
            x_title="score threshold", y_title="precision", y_range=(0, 1), y_label=percent, mark=data.threshold,
        )  # fmt: skip
        note = "Against the tiny world's truth: phrase present and IoU of at least 0.5. Bands are 95 % intervals."
        cards.append(card("Precision against threshold", chart, note))
    if data.policy:
        rows = [
            (f"{step.operation} {step.setting}".strip(), float(step.regions_after), f"{step.regions_after:,}")
            for step in data.policy
        ]
        rows.insert(0, ("evidence", float(data.loop.evidence_regions), f"{data.loop.evidence_regions:,}"))
        cards.append(
            card("What the policy kept", bars(rows), "Regions kept after each operation; no GPU needed.")
        )
    return section("From evidence to labels", element("div", *cards, class_="cards")) if cards else None


def _threshold_line(line: ThresholdLine, style: str) -> Line:
    points = [point for point in line.points if point.precision.value is not None]
    whole = all(point.precision.low is not None and point.precision.high is not None for point in points)
    return Line(
        name=line.name,
        style=style,
        xs=[point.threshold for point in points],
        ys=[point.precision.value or 0.0 for point in points],
        band=[(point.precision.low or 0.0, point.precision.high or 0.0) for point in points] if whole else (),
    )


def training(data: ReportData) -> Markup | None:
    """Curves and times."""
    cards = []
    if data.curves:
        lines = [Line(curve.model, curve.model, curve.steps, curve.loss) for curve in data.curves]
        chart = line_chart(lines, x_title="training step", y_title="loss")
        note = "Each is over its own data, so the losses of control and student do not compare."
        cards.append(card("Training loss", chart, note))
    if data.timings:
        rows = [
            (timing.step, timing.seconds, f"{timing.seconds:.0f} s" + (" (earlier)" if timing.cached else ""))
            for timing in data.timings
        ]
        total = sum(timing.seconds for timing in data.timings)
        cards.append(card("Where the time went", bars(rows), f"{total:.0f} s of work in all."))
    return section("Training and time", element("div", *cards, class_="cards")) if cards else None


def next_steps(data: ReportData) -> Markup | None:
    """Commands to run next, and what the reader must know."""
    commands = [
        join(element("dt", element("code", one.command)), element("dd", one.what))
        for one in data.next_commands
    ]
    notes = (
        element("ul", *[element("li", note) for note in data.notes], class_="facts") if data.notes else None
    )
    parts = [
        element("div", element("h3", "Run next"), element("dl", *commands), class_="card")
        if commands
        else None,
        element("div", element("h3", "Read with care"), notes, class_="card") if notes else None,
    ]
    return section("Next", element("div", *parts, class_="cards")) if any(parts) else None


def closing(data: ReportData) -> Markup:
    """Where the numbers come from."""
    facts = [
        join(element("dt", name), element("dd", element("code", value)))
        for name, value in data.provenance.items()
    ]
    return element("footer", element("dl", *facts) if facts else None)
