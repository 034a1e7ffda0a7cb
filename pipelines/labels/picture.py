"""One sample as a picture: boxes on the image, phrases under the caption.

Color-blind readers can distinguish the colors. Boxes to ignore and class_only ones have broken lines, which the strip
explains. The strip counts what is not drawn. The picture is a pure function of the row and the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipelines.labels.caption_strip import INK, PAPER, draw_caption_strip, font, one_line
from pipelines.labels.fates import LabelRow, is_kept
from pipelines.labels.strokes import PATTERNS, Color, Rectangle, outline_box
from schemas.rows import RegionRow

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
class DrawnRegion:
    """A region in the pixels of the picture."""

    box: Rectangle
    label: str
    color: Color
    fate: str


def draw_picture(row: LabelRow, photo_rgb_u8: NDArray[np.uint8], *, most_boxes: int = 25) -> Image.Image:
    """Draw the picture of one row of evidence, view or gold.

    photo_rgb_u8: [height, width, 3], the upright stored image. The `most_boxes` best regions are drawn, kept ones
    before those to ignore. The line at the foot counts the others.
    """
    scale = LONG_SIDE_PX / max(row["width"], row["height"])
    size = (max(1, round(row["width"] * scale)), max(1, round(row["height"] * scale)))
    photo = Image.fromarray(photo_rgb_u8).resize(size, Image.Resampling.LANCZOS)
    colors = phrase_colors(row)
    regions = sorted(row["regions"], key=lambda region: (not is_kept(region), -region["score"]))
    _draw_boxes(photo, [_scale_region(region, row, scale, colors) for region in regions[:most_boxes]])
    strip = draw_caption_strip(row, colors, LONG_SIDE_PX, len(regions) - most_boxes)
    picture = Image.new("RGB", (LONG_SIDE_PX, size[1] + strip.height), BACKGROUND)
    picture.paste(photo, ((LONG_SIDE_PX - size[0]) // 2, 0))
    picture.paste(strip, (0, size[1]))
    return picture


def phrase_colors(row: LabelRow) -> dict[int, Color]:
    """Return a color for each phrase that has a region, in the order of the phrases."""
    seen = sorted({region["phrase"] for region in row["regions"]})
    return {phrase: PALETTE[place % len(PALETTE)] for place, phrase in enumerate(seen)}


def _scale_region(region: RegionRow, row: LabelRow, scale: float, colors: dict[int, Color]) -> DrawnRegion:
    x0, y0, x1, y1 = (side * scale for side in (region["x0"], region["y0"], region["x1"], region["y1"]))
    text = row["phrases"][region["phrase"]]["text"]
    if len(text) > LABEL_CHARACTERS:
        text = text[: LABEL_CHARACTERS - 1] + "…"
    human = region.get("origin") in ("human", "human_confirmed")
    label = text if human else f"{text}  {region['score']:.2f}"
    fate = str(region.get("fate", "positive"))
    if fate in PATTERNS:
        label += f"  {fate.replace('_', ' ')}"
    return DrawnRegion((x0, y0, x1, y1), one_line(label), colors[region["phrase"]], fate)


def _draw_boxes(photo: Image.Image, boxes: list[DrawnRegion]) -> None:
    """Draw the boxes with the best on top, then the labels, the best first, so that they choose their place first."""
    draw = ImageDraw.Draw(photo)
    # boxes of one place stand inside one another, so that each phrase's color is seen
    inset = [
        RING_PX * sum(_is_same_place(item.box, other.box) for other in boxes[:at])
        for at, item in enumerate(boxes)
    ]
    for item, px in zip(reversed(boxes), reversed(inset), strict=True):
        box = _shrink(item.box, px)
        # a dark edge, so that a light box stands out on a light sky
        _outline_inside(draw, box, INK, 6, photo.size, item.fate)
        _outline_inside(draw, box, item.color, 4, photo.size, item.fate)
    used: list[Rectangle] = []
    for item in boxes:
        place = _place_label(item, used, photo.size)
        used.append(place)
        fill = PAPER if item.fate in PATTERNS else item.color
        draw.rounded_rectangle(
            place, radius=5, fill=fill, outline=item.color if fill == PAPER else INK, width=1
        )
        middle = (place[0] + 6, (place[1] + place[3]) / 2)
        draw.text(middle, item.label, _choose_ink(fill), font(LABEL_PX), "lm")


def _outline_inside(
    draw: ImageDraw.ImageDraw, box: Rectangle, color: Color, width: int, size: tuple[int, int], fate: str
) -> None:
    half = width / 2  # the line stays inside the photograph
    x0, y0 = max(box[0], half), max(box[1], half)
    x1, y1 = min(box[2], size[0] - 1 - half), min(box[3], size[1] - 1 - half)
    outline_box(draw, (x0, y0, max(x0, x1), max(y0, y1)), color, width, fate)


def _is_same_place(a: Rectangle, b: Rectangle) -> bool:
    return all(abs(one - other) <= RING_PX for one, other in zip(a, b, strict=True))


def _shrink(box: Rectangle, px: float) -> Rectangle:
    x0, y0, x1, y1 = box
    px = min(px, (x1 - x0) / 3, (y1 - y0) / 3)
    return x0 + px, y0 + px, x1 - px, y1 - px


def _place_label(item: DrawnRegion, used: list[Rectangle], size: tuple[int, int]) -> Rectangle:
    """Return the first free place at the box's corners, else the one that hides least of other labels."""
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
    return min(places, key=lambda place: sum(_overlap_area(place, other) for other in used))


def _overlap_area(a: Rectangle, b: Rectangle) -> float:
    return max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)


def _choose_ink(color: Color) -> Color:
    red, green, blue = color
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else PAPER


def make_contact_sheet(pictures: list[Image.Image], columns: int = 3, cell_px: int = 640) -> Image.Image:
    """Return the pictures on one sheet, all of one width, each placed where the sheet is shortest."""
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
