"""The strip under an image: the caption with its phrases underlined, a legend of lines, and counts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from pipelines.labels.fates import CLASS_ONLY, IGNORE, LabelRow, count_fate, find_kept_regions
from pipelines.labels.strokes import MEANINGS, PATTERNS, Color, draw_line
from schemas.rows import PhraseRow

PAPER, INK, GREY, FAINT = (255, 255, 255), (32, 33, 36), (110, 114, 120), (176, 180, 186)
MARGIN_PX = 18
CAPTION_PX, FOOT_PX = 24, 16
CAPTION_LINES = 6
LANE_PX = 6  # from one underline to the next, where phrases overlap
SAMPLE_PX = 52  # length of a line in the legend


def draw_caption_strip(row: LabelRow, colors: dict[int, Color], width: int, not_drawn: int) -> Image.Image:
    """Draw the caption, each phrase underlined in its color (gray without a kept box), above a line of numbers.

    If a box has a broken line, a legend explains it. colors: by phrase; not_drawn: number of regions that the picture
    omits.
    """
    kept = {region["phrase"] for region in find_kept_regions(row)}
    fates = {str(region.get("fate", "positive")) for region in row["regions"]}
    legend = [fate for fate in MEANINGS if fate in fates | {"positive"}] if fates & PATTERNS.keys() else []
    legend_px = FOOT_PX + 12 if legend else 0
    caption = one_line(row["caption"])
    lines = _wrap_caption(caption, width - 2 * MARGIN_PX)
    lanes = _assign_lanes(row["phrases"])
    line_px = CAPTION_PX + 12 + LANE_PX * max([1, *(lane + 1 for lane in lanes.values())])
    strip = Image.new("RGB", (width, 12 + line_px * len(lines) + legend_px + FOOT_PX + 24), PAPER)
    draw = ImageDraw.Draw(strip)
    for place, (begin, end) in enumerate(lines):
        top = 12 + line_px * place
        draw.text((MARGIN_PX, top), caption[begin:end], INK, font(CAPTION_PX))
        for number, lane in lanes.items():
            phrase = row["phrases"][number]
            first, last = max(phrase["begin"] or 0, begin), min(phrase["end"] or 0, end)
            if first < last:
                under = top + CAPTION_PX + 6 + LANE_PX * lane
                _underline(
                    draw,
                    caption[begin:last],
                    first - begin,
                    under,
                    colors.get(number) if number in kept else None,
                )
    _draw_legend(draw, legend, strip.height - legend_px - FOOT_PX - 16)
    cut = "" if lines and lines[-1][1] >= len(caption.rstrip()) else "the caption goes on  ·  "
    draw.text(
        (MARGIN_PX, strip.height - FOOT_PX - 14), cut + _format_footer(row, not_drawn), GREY, font(FOOT_PX)
    )
    return strip


def _draw_legend(draw: ImageDraw.ImageDraw, fates: list[str], top: int) -> None:
    left = float(MARGIN_PX)
    for fate in fates:
        draw_line(draw, (left, top, left + SAMPLE_PX, top + FOOT_PX), INK, 4, fate)
        draw.text((left + SAMPLE_PX + 8, top), MEANINGS[fate], GREY, font(FOOT_PX))
        left += SAMPLE_PX + 32 + font(FOOT_PX).getlength(MEANINGS[fate])


@lru_cache
def font(size_px: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Load DejaVu Sans. It comes with matplotlib and covers Latin, Greek, Cyrillic, Arabic and many symbols."""
    spec = find_spec("matplotlib")
    assert spec and spec.submodule_search_locations, "matplotlib is one of our locked dependencies"
    folder = Path(spec.submodule_search_locations[0]) / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")), size_px)


def one_line(text: str) -> str:
    """Return the same number of characters without line breaks or control characters."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", text)


def _format_footer(row: LabelRow, not_drawn: int) -> str:
    shard = row["shard"].rstrip("/").rsplit("/", 1)[-1]
    kept, regions = find_kept_regions(row), row["regions"]
    found = {region["phrase"] for region in kept}
    size = f"{row['width']} × {row['height']} px"
    parts = [f"{shard}/{row['key']}", size, _format_count(len(kept), "box", "boxes")]
    if class_only := count_fate(regions, CLASS_ONLY):
        parts[-1] += f" ({class_only} class only)"
    if ignored := count_fate(regions, IGNORE):
        parts.append(f"{ignored} to ignore")
    if without := len(row["phrases"]) - len(found):
        parts.append(f"{_format_count(without, 'phrase', 'phrases')} without a box")
    if not_drawn > 0:
        parts.append(f"the {not_drawn} weakest not drawn")
    return one_line("  ·  ".join(parts))


def _format_count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _underline(draw: ImageDraw.ImageDraw, text: str, first: int, top: int, color: Color | None) -> None:
    begin = MARGIN_PX + font(CAPTION_PX).getlength(text[:first])
    end = MARGIN_PX + font(CAPTION_PX).getlength(text.rstrip())
    draw.rectangle((begin, top, end, top + (3 if color else 1)), fill=color or FAINT)


def _assign_lanes(phrases: Sequence[PhraseRow]) -> dict[int, int]:
    """Return a lane for each phrase in the caption, so that underlines of overlapping phrases do not overlap."""
    lanes: dict[int, int] = {}
    spans = sorted(
        (p["begin"], -p["end"], number)
        for number, p in enumerate(phrases)
        if p["begin"] is not None and p["end"] is not None
    )
    ends: list[int] = []
    for begin, negative_end, number in spans:
        lane = next((place for place, end in enumerate(ends) if end <= begin), len(ends))
        ends[lane : lane + 1] = [-negative_end]
        lanes[number] = lane
    return lanes


def _wrap_caption(text: str, width_px: float) -> list[tuple[int, int]]:
    """Return [begin, end) of at most CAPTION_LINES lines. A word wider than a line is broken."""
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
