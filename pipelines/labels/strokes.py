"""Line patterns of boxes: solid for a kept box, broken for one that is not learned as it is."""

from __future__ import annotations

from PIL import ImageDraw

from pipelines.labels.fates import CLASS_ONLY, IGNORE

Color = tuple[int, int, int]
Rectangle = tuple[float, float, float, float]

# Pixels of line and gap in turn; no entry: a whole line.
PATTERNS: dict[str, tuple[int, ...]] = {CLASS_ONLY: (26, 7, 5, 7), IGNORE: (8, 9)}
MEANINGS = {
    "positive": "kept",
    CLASS_ONLY: "class only: box not taught",
    IGNORE: "ignore: not taught, no negative",
}


def outline_box(draw: ImageDraw.ImageDraw, box: Rectangle, color: Color, width: int, fate: str) -> None:
    """Draw a box with the line of its fate. The middle of the line is the box's edge."""
    pattern = PATTERNS.get(fate)
    if pattern is None:
        half = width / 2
        x0, y0, x1, y1 = box[0] - half, box[1] - half, box[2] + half, box[3] + half
        draw.rectangle((x0, y0, max(x0, x1), max(y0, y1)), outline=color, width=width)
        return
    x0, y0, x1, y1 = box
    for first, last in (
        ((x0, y0), (x1, y0)),
        ((x1, y0), (x1, y1)),
        ((x1, y1), (x0, y1)),
        ((x0, y1), (x0, y0)),
    ):
        _draw_broken_line(draw, first, last, color, width, pattern)


def draw_line(draw: ImageDraw.ImageDraw, box: Rectangle, color: Color, width: int, fate: str) -> None:
    """Draw a horizontal line from the left to the right side of a box, as in the legend."""
    y = (box[1] + box[3]) / 2
    _draw_broken_line(draw, (box[0], y), (box[2], y), color, width, PATTERNS.get(fate, (1 << 16, 0)))


def _draw_broken_line(
    draw: ImageDraw.ImageDraw,
    first: tuple[float, float],
    last: tuple[float, float],
    color: Color,
    width: int,
    pattern: tuple[int, ...],
) -> None:
    (x0, y0), (x1, y1) = first, last
    length = max(abs(x1 - x0), abs(y1 - y0))
    position, piece = 0.0, 0
    while position < length:
        end = min(position + pattern[piece % len(pattern)], length)
        if piece % 2 == 0:
            points = [(x0 + (x1 - x0) * t / length, y0 + (y1 - y0) * t / length) for t in (position, end)]
            draw.line(points, fill=color, width=width)
        position, piece = end, piece + 1
