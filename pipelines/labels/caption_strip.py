"""The strip under a photograph: the caption with its phrases underlined, what lines mean, and what is not drawn."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from pipelines.labels.fates import CLASS_ONLY, IGNORE, count_fate, kept_regions
from pipelines.labels.strokes import MEANINGS, PATTERNS, Colour, draw_line

PAPER, INK, GREY, FAINT = (255, 255, 255), (32, 33, 36), (110, 114, 120), (176, 180, 186)
MARGIN_PX = 18
CAPTION_PX, FOOT_PX = 24, 16
CAPTION_LINES = 6
LANE_PX = 6  # from one underline to the next, where phrases overlap
SAMPLE_PX = 52  # length of a line in the legend


def caption_strip(row: dict[str, Any], colours: dict[int, Colour], width: int, not_drawn: int) -> Image.Image:
    """The caption, each phrase underlined in its colour (grey without a kept box), over a line of numbers.

    Where a box has a broken line, a legend says what it means. colours: by phrase; not_drawn: regions that the picture
    leaves out.
    """
    kept = {region["phrase"] for region in kept_regions(row)}
    fates = {region.get("fate", "positive") for region in row["regions"]}
    legend = [fate for fate in MEANINGS if fate in fates | {"positive"}] if fates & PATTERNS.keys() else []
    legend_px = FOOT_PX + 12 if legend else 0
    caption = one_line(row["caption"])
    lines = _wrap(caption, width - 2 * MARGIN_PX)
    lanes = _lanes(row["phrases"])
    line_px = CAPTION_PX + 12 + LANE_PX * max([1, *(lane + 1 for lane in lanes.values())])
    strip = Image.new("RGB", (width, 12 + line_px * len(lines) + legend_px + FOOT_PX + 24), PAPER)
    draw = ImageDraw.Draw(strip)
    for place, (begin, end) in enumerate(lines):
        top = 12 + line_px * place
        draw.text((MARGIN_PX, top), caption[begin:end], INK, font(CAPTION_PX))
        for number, lane in lanes.items():
            phrase = row["phrases"][number]
            first, last = max(phrase["begin"], begin), min(phrase["end"], end)
            if first < last:
                under = top + CAPTION_PX + 6 + LANE_PX * lane
                _underline(
                    draw,
                    caption[begin:last],
                    first - begin,
                    under,
                    colours.get(number) if number in kept else None,
                )
    _draw_legend(draw, legend, strip.height - legend_px - FOOT_PX - 16)
    cut = "" if lines and lines[-1][1] >= len(caption.rstrip()) else "the caption goes on  ·  "
    draw.text((MARGIN_PX, strip.height - FOOT_PX - 14), cut + _foot(row, not_drawn), GREY, font(FOOT_PX))
    return strip


def _draw_legend(draw: ImageDraw.ImageDraw, fates: list[str], top: int) -> None:
    left = float(MARGIN_PX)
    for fate in fates:
        draw_line(draw, (left, top, left + SAMPLE_PX, top + FOOT_PX), INK, 4, fate)
        draw.text((left + SAMPLE_PX + 8, top), MEANINGS[fate], GREY, font(FOOT_PX))
        left += SAMPLE_PX + 32 + font(FOOT_PX).getlength(MEANINGS[fate])


@lru_cache
def font(size_px: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and holds Latin, Greek, Cyrillic, Arabic and many signs."""
    spec = find_spec("matplotlib")
    assert spec and spec.submodule_search_locations, "matplotlib is one of our locked dependencies"
    folder = Path(spec.submodule_search_locations[0]) / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")), size_px)


def one_line(text: str) -> str:
    """The same number of characters without line breaks or control characters."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", text)


def _foot(row: dict[str, Any], not_drawn: int) -> str:
    shard = row["shard"].rstrip("/").rsplit("/", 1)[-1]
    kept, regions = kept_regions(row), row["regions"]
    found = {region["phrase"] for region in kept}
    size = f"{row['width']} × {row['height']} px"
    parts = [f"{shard}/{row['key']}", size, _count(len(kept), "box", "boxes")]
    if class_only := count_fate(regions, CLASS_ONLY):
        parts[-1] += f" ({class_only} class only)"
    if ignored := count_fate(regions, IGNORE):
        parts.append(f"{ignored} to ignore")
    if without := len(row["phrases"]) - len(found):
        parts.append(f"{_count(without, 'phrase', 'phrases')} without a box")
    if not_drawn > 0:
        parts.append(f"the {not_drawn} weakest not drawn")
    return one_line("  ·  ".join(parts))


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _underline(draw: ImageDraw.ImageDraw, text: str, first: int, top: int, colour: Colour | None) -> None:
    begin = MARGIN_PX + font(CAPTION_PX).getlength(text[:first])
    end = MARGIN_PX + font(CAPTION_PX).getlength(text.rstrip())
    draw.rectangle((begin, top, end, top + (3 if colour else 1)), fill=colour or FAINT)


def _lanes(phrases: list[dict[str, Any]]) -> dict[int, int]:
    """A lane for each phrase in the caption, so that overlapping phrases have underlines of their own."""
    lanes: dict[int, int] = {}
    spans = sorted(
        (p["begin"], -p["end"], number) for number, p in enumerate(phrases) if p["begin"] is not None
    )
    ends: list[int] = []
    for begin, negative_end, number in spans:
        lane = next((place for place, end in enumerate(ends) if end <= begin), len(ends))
        ends[lane : lane + 1] = [-negative_end]
        lanes[number] = lane
    return lanes


def _wrap(text: str, width_px: float) -> list[tuple[int, int]]:
    """[begin, end) of at most CAPTION_LINES lines; a word wider than a line is broken."""
    face = font(CAPTION_PX)
    lines: list[tuple[int, int]] = []
    begin = 0
    while begin < len(text) and len(lines) < CAPTION_LINES:
        fits = begin + 1
        while fits < len(text) and face.getlength(text[begin : fits + 1]) <= width_px:
            fits += 1
        blank = text.rfind(" ", begin, fits)
        end = fits if fits == len(text) or blank <= begin else blank + 1
        lines.append((begin, end))
        begin = end
    return lines
