"""The chart builders: places and lengths are the data's, and nothing leaves the picture."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.reporting.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Line,
    draw_bars,
    draw_histogram,
    draw_lines,
    draw_whiskers,
    format_signed,
    round_ticks,
)
from pipelines.reporting.examples import draw_example
from pipelines.reporting.markup import element, join


def numbers(markup, name):
    return [float(value) for value in re.findall(rf' {name}="(-?[\d.]+)"', markup)]


@given(st.floats(-1e4, 1e4), st.floats(0.01, 1e5))
@settings(max_examples=100, deadline=None)
def test_ticks_are_round_rise_and_lie_within_the_axis(low, span):
    ticks = round_ticks(low, low + span)

    assert ticks == sorted(set(ticks)) and 1 <= len(ticks) <= 12
    assert all(low - 1e-6 * span <= tick <= low + span * (1 + 1e-6) for tick in ticks)


def test_a_histograms_bars_are_as_high_as_their_counts_and_stack():
    chart = draw_histogram((1, 3), (1, 0), 0.0, 1.0)
    kept = re.findall(r'<rect[^>]* y="([\d.]+)" height="([\d.]+)" class="kept"', chart)
    (dropped,) = re.findall(r'<rect[^>]* y="([\d.]+)" height="([\d.]+)" class="dropped"', chart)

    assert float(kept[1][1]) == pytest.approx(3 * float(kept[0][1]), abs=0.1)
    assert float(dropped[0]) + float(dropped[1]) == pytest.approx(float(kept[0][0]), abs=0.1)
    assert "score 0.00 to 0.50: 1 kept, 1 dropped" in chart


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20))
@settings(max_examples=50, deadline=None)
def test_a_line_stays_in_its_frame_and_ends_where_its_name_stands(ys):
    chart = draw_lines(
        [Line("tail", "first", range(len(ys)), ys)], x_title="x", y_title="y", y_range=(0.0, 1.0), mark=0.5
    )
    points = [
        tuple(map(float, point.split(","))) for point in re.search(r'points="([^"]+)"', chart)[1].split()
    ]

    assert points[0][0] == LEFT
    assert all(LEFT <= x <= WIDTH - RIGHT and TOP - 0.1 <= y <= HEIGHT - BOTTOM + 0.1 for x, y in points)
    assert points[-1][1] == pytest.approx(TOP + (1 - ys[-1]) * (HEIGHT - BOTTOM - TOP), abs=0.1)


def test_names_of_lines_that_end_together_do_not_overlap():
    lines = [Line(name, "first", (0, 1), (0.0, 0.5)) for name in ("one", "two", "three")]
    chart = draw_lines(lines, x_title="x", y_title="y")
    places = [float(y) for y in re.findall(r'<text x="[\d.]+" y="([\d.]+)" class="name', chart)]

    assert len(places) == 3 and min(b - a for a, b in zip(places, places[1:], strict=False)) >= 13


def test_charts_without_data_or_with_zeros_only_are_still_charts():
    for chart in (
        draw_lines([], x_title="x", y_title="y"),
        draw_histogram((0,), (0,), 0.0, 1.0),
        draw_bars([]),
        draw_bars([("nothing", 0.0, "0")]),
        draw_whiskers([("unknown", None, 0.0, 1.0)]),
        draw_lines([Line("flat", "first", (3,), (0.0,))], x_title="x", y_title="y"),
    ):
        assert chart.startswith("<svg") and "nan" not in chart and "inf" not in chart


def test_bars_are_as_long_as_their_numbers():
    widths = numbers(draw_bars([("a", 10.0, "10"), ("b", 5.0, "5")]), "width")

    assert widths[0] == pytest.approx(2 * widths[1], abs=0.1)


def test_a_whisker_spans_its_interval():
    low, high = numbers(draw_whiskers([("all", 0.5, 0.25, 0.75)]), "x1")[-1], numbers(
        draw_whiskers([("all", 0.5, 0.25, 0.75)]), "x2"
    )[-1]  # fmt: skip
    (dot,) = numbers(draw_whiskers([("all", 0.5, 0.25, 0.75)]), "cx")

    assert dot == pytest.approx((low + high) / 2, abs=0.1) and high > low


def test_an_examples_boxes_stand_where_they_are_and_dropped_ones_are_told_apart(data):
    example = data.examples[0]
    figure = draw_example(example)
    kept = [box for box in example.boxes if box.kept]

    assert figure.count('class="keep"') == len(kept)
    assert figure.count('class="drop"') == len(example.boxes) - len(kept)
    x0, y0, x1, y1 = kept[0].box
    assert f'x="{x0:g}" y="{y0:g}" width="{x1 - x0:g}" height="{y1 - y0:g}"' in figure
    assert 'viewBox="0 0 96 96"' in figure


def test_markup_escapes_text_and_attributes_and_leaves_markup_alone():
    inner = element("b", "<&>")

    assert element("p", inner, None, 'a "b"', title='"<>') == (
        '<p title="&#34;&lt;&gt;"><b>&lt;&amp;&gt;</b>a &#34;b&#34;</p>'
    )
    assert join("<") == "&lt;" and format_signed(-0.01) == "−1.0"
