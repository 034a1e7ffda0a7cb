"""One sample as a picture: boxes on the photograph, phrases under the caption, in colours that all eyes tell apart.

Boxes to ignore and class_only ones have broken lines, which the strip explains. Its promise: what is not drawn is said.
A pure function of the row and the pixels: the same sample, the same picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from pipelines.labels.caption_strip import INK, PAPER, caption_strip, font, one_line
from pipelines.labels.fates import is_kept
from pipelines.labels.strokes import PATTERNS, Colour, Rectangle, outline_box

# Okabe and Ito, "Color Universal Design" (2008), without black; in an order that keeps neighbours far apart
PALETTE = (
    (213, 94, 0),
    (86, 180, 233),
    (240, 228, 66),
    (0, 158, 115),
    (204, 121, 167),
    (0, 114, 178),
    (230, 159, 0),
)
LONG_SIDE_PX = 1000
LABEL_PX = 19
BACKGROUND = (228, 230, 233)
RING_PX = 6  # from a box to the one inside it
LABEL_CHARACTERS = 32


@dataclass(frozen=True)
class Drawn:
    """A region as it stands on the picture."""

    box: Rectangle
    label: str
    colour: Colour
    fate: str


def draw_sample(row: dict[str, Any], photo_rgb_u8: np.ndarray, *, most_boxes: int = 25) -> Image.Image:
    """The picture of one row of evidence, view or gold.

    photo_rgb_u8: [height, width, 3], the upright stored image. The `most_boxes` best regions are drawn, kept ones
    before those to ignore; the line at the foot counts the others.
    """
    scale = LONG_SIDE_PX / max(row["width"], row["height"])
    size = (max(1, round(row["width"] * scale)), max(1, round(row["height"] * scale)))
    photo = Image.fromarray(photo_rgb_u8).resize(size, Image.Resampling.LANCZOS)
    colours = phrase_colours(row)
    regions = sorted(row["regions"], key=lambda region: (not is_kept(region), -region["score"]))
    _draw_boxes(photo, [_drawn(region, row, scale, colours) for region in regions[:most_boxes]])
    strip = caption_strip(row, colours, LONG_SIDE_PX, len(regions) - most_boxes)
    picture = Image.new("RGB", (LONG_SIDE_PX, size[1] + strip.height), BACKGROUND)
    picture.paste(photo, ((LONG_SIDE_PX - size[0]) // 2, 0))
    picture.paste(strip, (0, size[1]))
    return picture


def phrase_colours(row: dict[str, Any]) -> dict[int, Colour]:
    """A colour for each phrase that has a region, in the order of the phrases."""
    seen = sorted({region["phrase"] for region in row["regions"]})
    return {phrase: PALETTE[place % len(PALETTE)] for place, phrase in enumerate(seen)}


def _drawn(region: dict[str, Any], row: dict[str, Any], scale: float, colours: dict[int, Colour]) -> Drawn:
    x0, y0, x1, y1 = (region[side] * scale for side in ("x0", "y0", "x1", "y1"))
    text = row["phrases"][region["phrase"]]["text"]
    if len(text) > LABEL_CHARACTERS:
        text = text[: LABEL_CHARACTERS - 1] + "…"
    human = region.get("origin") in ("human", "human_confirmed")
    label = text if human else f"{text}  {region['score']:.2f}"
    fate = region.get("fate", "positive")
    if fate in PATTERNS:
        label += f"  {fate.replace('_', ' ')}"
    return Drawn((x0, y0, x1, y1), one_line(label), colours[region["phrase"]], fate)


def _draw_boxes(photo: Image.Image, boxes: list[Drawn]) -> None:
    """Boxes with the best on top; then the labels, the best first to choose their place."""
    draw = ImageDraw.Draw(photo)
    # boxes of one place stand inside one another, so that each phrase's colour is seen
    inset = [
        RING_PX * sum(_same_place(item.box, other.box) for other in boxes[:at])
        for at, item in enumerate(boxes)
    ]
    for item, px in zip(reversed(boxes), reversed(inset), strict=True):
        box = _shrunk(item.box, px)
        # a dark edge, so that a light box stands out on a light sky
        _outline(draw, box, INK, 6, photo.size, item.fate)
        _outline(draw, box, item.colour, 4, photo.size, item.fate)
    taken: list[Rectangle] = []
    for item in boxes:
        place = _label_place(item, taken, photo.size)
        taken.append(place)
        fill = PAPER if item.fate in PATTERNS else item.colour
        draw.rounded_rectangle(
            place, radius=5, fill=fill, outline=item.colour if fill == PAPER else INK, width=1
        )
        middle = (place[0] + 6, (place[1] + place[3]) / 2)
        draw.text(middle, item.label, _ink_on(fill), font(LABEL_PX), "lm")


def _outline(
    draw: ImageDraw.ImageDraw, box: Rectangle, colour: Colour, width: int, size: tuple[int, int], fate: str
) -> None:
    half = width / 2  # the line stays inside the photograph
    x0, y0 = max(box[0], half), max(box[1], half)
    x1, y1 = min(box[2], size[0] - 1 - half), min(box[3], size[1] - 1 - half)
    outline_box(draw, (x0, y0, max(x0, x1), max(y0, y1)), colour, width, fate)


def _same_place(a: Rectangle, b: Rectangle) -> bool:
    return all(abs(one - other) <= RING_PX for one, other in zip(a, b, strict=True))


def _shrunk(box: Rectangle, px: float) -> Rectangle:
    x0, y0, x1, y1 = box
    px = min(px, (x1 - x0) / 3, (y1 - y0) / 3)
    return x0 + px, y0 + px, x1 - px, y1 - px


def _label_place(item: Drawn, taken: list[Rectangle], size: tuple[int, int]) -> Rectangle:
    """The first place at the box's corners that is free; else the one that hides least of other labels."""
    width, height = font(LABEL_PX).getlength(item.label) + 12, LABEL_PX + 9
    x0, y0, x1, y1 = item.box
    corners = [(x0, y0 - height), (x0, y0), (x1 - width, y0 - height), (x1 - width, y0)]
    corners += [(x0, y1), (x0, y1 - height), (x1 - width, y1), (x1 - width, y1 - height)]
    corners += [(x0, y0 + height * step) for step in range(1, 6)]
    places = []
    for x, y in corners:
        left = min(max(x, 0), max(size[0] - 1 - width, 0))
        top = min(max(y, 0), max(size[1] - 1 - height, 0))
        places.append((left, top, left + width, top + height))
    return min(places, key=lambda place: sum(_shared(place, other) for other in taken))


def _shared(a: Rectangle, b: Rectangle) -> float:
    return max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)


def _ink_on(colour: Colour) -> Colour:
    red, green, blue = colour
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else PAPER


def contact_sheet(pictures: list[Image.Image], columns: int = 3, cell_px: int = 640) -> Image.Image:
    """The pictures on one sheet, all of one width, each put where the sheet is shortest."""
    columns, gap = min(columns, len(pictures)), 12
    tops = [gap] * columns
    places = []
    for picture in pictures:
        cell = picture.resize(
            (cell_px, round(picture.height * cell_px / picture.width)), Image.Resampling.LANCZOS
        )
        column = tops.index(min(tops))
        places.append((cell, (gap + column * (cell_px + gap), tops[column])))
        tops[column] += cell.height + gap
    sheet = Image.new("RGB", (columns * (cell_px + gap) + gap, max(tops)), BACKGROUND)
    for cell, place in places:
        sheet.paste(cell, place)
    return sheet
