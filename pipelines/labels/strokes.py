"""Lines of boxes, told apart by their pattern: whole for a kept box, broken for one that is not taught as it is."""

from __future__ import annotations

from PIL import ImageDraw

from pipelines.labels.fates import CLASS_ONLY, IGNORE

Colour = tuple[int, int, int]
Rectangle = tuple[float, float, float, float]

# Pixels of line and gap in turn; no entry: a whole line.
PATTERNS: dict[str, tuple[int, ...]] = {CLASS_ONLY: (26, 7, 5, 7), IGNORE: (8, 9)}
MEANINGS = {
    "positive": "kept",
    CLASS_ONLY: "class only: box not taught",
    IGNORE: "ignore: not taught, no negative",
}


def outline_box(draw: ImageDraw.ImageDraw, box: Rectangle, colour: Colour, width: int, fate: str) -> None:
    """Draw a box with the line of its fate. The middle of the line is the box's edge."""
    pattern = PATTERNS.get(fate)
    if pattern is None:
        half = width / 2
        x0, y0, x1, y1 = box[0] - half, box[1] - half, box[2] + half, box[3] + half
        draw.rectangle((x0, y0, max(x0, x1), max(y0, y1)), outline=colour, width=width)
        return
    x0, y0, x1, y1 = box
    for first, last in (
        ((x0, y0), (x1, y0)),
        ((x1, y0), (x1, y1)),
        ((x1, y1), (x0, y1)),
        ((x0, y1), (x0, y0)),
    ):
        _draw_broken(draw, first, last, colour, width, pattern)


def draw_line(draw: ImageDraw.ImageDraw, box: Rectangle, colour: Colour, width: int, fate: str) -> None:
    """Draw a level line from the left to the right side of a box, as the legend shows it."""
    y = (box[1] + box[3]) / 2
    _draw_broken(draw, (box[0], y), (box[2], y), colour, width, PATTERNS.get(fate, (1 << 16, 0)))


def _draw_broken(
    draw: ImageDraw.ImageDraw,
    first: tuple[float, float],
    last: tuple[float, float],
    colour: Colour,
    width: int,
    pattern: tuple[int, ...],
) -> None:
    (x0, y0), (x1, y1) = first, last
    length = max(abs(x1 - x0), abs(y1 - y0))
    at, piece = 0.0, 0
    while at < length:
        end = min(at + pattern[piece % len(pattern)], length)
        if piece % 2 == 0:
            points = [(x0 + (x1 - x0) * t / length, y0 + (y1 - y0) * t / length) for t in (at, end)]
            draw.line(points, fill=colour, width=width)
        at, piece = end, piece + 1
