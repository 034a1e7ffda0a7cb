"""The report's charts as SVG: a stacked histogram, lines with bands, horizontal bars, dots with whiskers.

Colors come from classes that the page's style sheet defines for light and dark. Each chart has its numbers in titles
(shown on hover), too. No meaning depends on color alone: lines have names and dashes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pipelines.reporting.markup import Markup, element, join

WIDTH, HEIGHT = 520, 280
LEFT, RIGHT, TOP, BOTTOM = 62, 18, 16, 42
NARROW_LABEL_PX = 14


@dataclass(frozen=True)
class Scale:
    """A linear map from values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low
        return self.start + (value - self.low) / span * (self.end - self.start) if span else self.start


@dataclass(frozen=True)
class Line:
    """One named line. `band` has (low, high) for each point, or nothing."""

    name: str
    style: str
    xs: Sequence[float]
    ys: Sequence[float]
    band: Sequence[tuple[float, float]] = field(default=())


def round_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers within [low, high], about `about` of them, in steps of 1, 2 or 5 times a power of ten."""
    if high <= low:
        return [low]
    raw = (high - low) / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


def format_number(value: float) -> str:
    """Format a tick's label: 12k, 0.25, 3."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:g}"


def format_signed(value: float) -> str:
    """Format a difference of fractions in points: `+24.0`, `−1.0`."""
    return f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")


def format_percent(value: float) -> str:
    """Format a share as a whole per cent."""
    return f"{100 * value:.0f} %"


def draw_histogram(
    kept: Sequence[int],
    dropped: Sequence[int],
    low: float,
    high: float,
    mark: float | None = None,
    *,
    ignored: Sequence[int] = (),
) -> Markup:
    """Stack counts per bin: kept at the bottom, then ignored, then dropped. `mark` draws the threshold."""
    names = ("kept", "ignored", "dropped")
    counts = (kept, ignored or [0] * len(kept), dropped)
    x = Scale(low, high, LEFT, WIDTH - RIGHT)
    stacks = [list(itertools.accumulate(parts, initial=0)) for parts in zip(*counts, strict=True)]
    y = Scale(0, max([*(stack[-1] for stack in stacks), 1]) * 1.05, HEIGHT - BOTTOM, TOP)
    wide = (high - low) / max(len(stacks), 1)
    bars = []
    for number, stack in enumerate(stacks):
        left, right = x(low + number * wide), x(low + (number + 1) * wide)
        parts = list(zip(names, stack, stack[1:], strict=False))
        counted = ", ".join(
            f"{top - foot} {name}" for name, foot, top in parts if name != "ignored" or top > foot
        )
        what = f"score {low + number * wide:.2f} to {low + (number + 1) * wide:.2f}: {counted}"
        place = {"x": left + 0.5, "width": max(right - left - 1, 0.5)}
        rects = [
            element("rect", **place, y=y(top), height=y(foot) - y(top), class_=name) if top > foot else None
            for name, foot, top in parts
        ]
        bars.append(element("g", element("title", what), *rects))
    axes = _draw_axes(x, y, "teacher score", "regions", format_number, format_number)
    return _make_svg(axes, *bars, _draw_mark(x, y, mark, y.end + 8))


def draw_lines(
    lines: Sequence[Line],
    *,
    x_title: str,
    y_title: str,
    y_range: tuple[float, float] | None = None,
    y_label: Callable[[float], str] = format_number,
    mark: float | None = None,
) -> Markup:
    """Draw lines over a shared axis, each named at its right end."""
    xs = [value for line in lines for value in line.xs]
    ys = [value for line in lines for value in line.ys]
    if not xs:
        return _make_svg(element("text", "no data", x=WIDTH / 2, y=HEIGHT / 2, text_anchor="middle"))
    low, high = y_range or (0.0, max(ys) * 1.05 or 1.0)
    label_space = 6.5 * max(len(line.name) for line in lines) + 8
    x = Scale(min(xs), max(xs), LEFT, WIDTH - RIGHT - label_space)
    y = Scale(low, high, HEIGHT - BOTTOM, TOP)
    drawn = [_draw_band(line, x, y) for line in lines] + [_draw_stroke(line, x, y) for line in lines]
    return _make_svg(
        _draw_axes(x, y, x_title, y_title, format_number, y_label),
        *drawn,
        *_draw_names(lines, x, y),
        _draw_mark(x, y, mark, y.start - 7),
    )


def _draw_band(line: Line, x: Scale, y: Scale) -> Markup | None:
    if not line.band:
        return None
    top = [(x(at), y(high)) for at, (_, high) in zip(line.xs, line.band, strict=True)]
    bottom = [(x(at), y(low)) for at, (low, _) in zip(line.xs, line.band, strict=True)]
    return element("polygon", points=_format_points([*top, *reversed(bottom)]), class_=f"band {line.style}")


def _draw_stroke(line: Line, x: Scale, y: Scale) -> Markup:
    points = [(x(at), y(value)) for at, value in zip(line.xs, line.ys, strict=True)]
    return element("polyline", points=_format_points(points), class_=f"line {line.style}")


def _draw_names(lines: Sequence[Line], x: Scale, y: Scale) -> list[Markup]:
    """Draw the lines' names at their ends, moved apart if they would overlap."""
    ends = sorted(((y(line.ys[-1]), line) for line in lines if line.ys), key=lambda end: end[0])
    names: list[Markup] = []
    above = -math.inf
    for wanted, line in ends:
        above = max(wanted, above + NARROW_LABEL_PX)
        names.append(
            element("text", line.name, x=x(line.xs[-1]) + 7, y=above + 4, class_=f"name {line.style}")
        )
    return names


def _format_points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in points)


def _draw_mark(x: Scale, y: Scale, at: float | None, text_y: float) -> Markup | None:
    if at is None:
        return None
    return element(
        "g",
        element("line", x1=x(at), x2=x(at), y1=y.start, y2=y.end, class_="mark"),
        element("text", f"threshold {at:g}", x=x(at) + 5, y=text_y, class_="tick"),
    )


def _draw_axes(
    x: Scale,
    y: Scale,
    x_title: str,
    y_title: str,
    x_label: Callable[[float], str],
    y_label: Callable[[float], str],
) -> Markup:
    rows = [
        join(
            element("line", x1=LEFT, x2=x.end, y1=y(at), y2=y(at), class_="grid"),
            element("text", y_label(at), x=LEFT - 8, y=y(at) + 4, text_anchor="end", class_="tick"),
        )
        for at in round_ticks(y.low, y.high)
    ]
    columns = [
        element("text", x_label(at), x=x(at), y=HEIGHT - BOTTOM + 17, text_anchor="middle", class_="tick")
        for at in round_ticks(x.low, x.high)
    ]
    titles = (
        element("text", x_title, x=(LEFT + x.end) / 2, y=HEIGHT - 4, text_anchor="middle", class_="axis"),
        element(
            "text", y_title, x=10, y=(TOP + HEIGHT - BOTTOM) / 2, class_="axis turned", text_anchor="middle"
        ),
    )
    base = element("line", x1=LEFT, x2=x.end, y1=y.start, y2=y.start, class_="base")
    return join(*rows, base, *columns, *titles)


def _make_svg(*children: Markup | None, width: float = WIDTH, height: float = HEIGHT) -> Markup:
    return element("svg", *children, viewBox=f"0 0 {width:g} {height:g}", class_="chart", role="img")


def draw_bars(rows: Sequence[tuple[str, float, str]], style: str = "bar") -> Markup:
    """Draw horizontal bars: (name, length, text at its end). The longest fills the width."""
    most = max([length for _, length, _ in rows] or [1]) or 1
    x = Scale(0, most, 190, WIDTH - 100)
    drawn = [
        element(
            "g",
            element("text", name, x=182, y=24 * row + 16, text_anchor="end", class_="label"),
            element(
                "rect", x=190, y=24 * row + 4, width=max(x(length) - 190, 1), height=16, rx=3, class_=style
            ),
            element("text", end, x=max(x(length), 191) + 7, y=24 * row + 16, class_="tick"),
        )
        for row, (name, length, end) in enumerate(rows)
    ]
    return _make_svg(*drawn, height=24 * len(rows) + 4)


def draw_whiskers(rows: Sequence[tuple[str, float | None, float, float]]) -> Markup:
    """Draw dots with intervals on an axis of 0..100 %: (name, value or None, low, high)."""
    x = Scale(0, 1, 150, WIDTH - 62)
    bottom = 26 * len(rows) + 6
    grid = [
        join(
            element("line", x1=x(at), x2=x(at), y1=4, y2=bottom, class_="grid"),
            element("text", format_percent(at), x=x(at), y=bottom + 16, text_anchor="middle", class_="tick"),
        )
        for at in (0, 0.25, 0.5, 0.75, 1)
    ]
    return _make_svg(
        *grid, *[_draw_whisker(row, 26 * n + 18, x) for n, row in enumerate(rows)], height=bottom + 24
    )


def _draw_whisker(row: tuple[str, float | None, float, float], y: float, x: Scale) -> Markup:
    name, value, low, high = row
    what = "unknown" if value is None else f"{100 * value:.1f} %"
    return element(
        "g",
        element("title", f"{name}: {what}, interval {format_percent(low)} to {format_percent(high)}"),
        element("text", name, x=142, y=y + 4, text_anchor="end", class_="label"),
        element("line", x1=x(low), x2=x(high), y1=y, y2=y, class_="whisker"),
        element("circle", cx=x(value), cy=y, r=5, class_="dot") if value is not None else None,
        element("text", what, x=WIDTH - 54, y=y + 4, class_="tick"),
    )
