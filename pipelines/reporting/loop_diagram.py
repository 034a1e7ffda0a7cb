"""The loop as a picture, with the numbers of this run: from web images and gold to the student, and back."""

from __future__ import annotations

from pipelines.reporting.data import LoopNumbers
from pipelines.reporting.markup import Markup, element

WIDTH, HEIGHT = 1000, 326
BOX_WIDTH, BOX_HEIGHT = 176, 84


def draw_loop(n: LoopNumbers) -> Markup:
    """Draw the diagram. Each box names its contents and their number."""
    boxes = [
        _draw_box(
            0, 20, "Web", f"{n.web_samples:,} captioned images", f"{n.web_shards} shards, no labels", "data"
        ),
        _draw_box(0, 232, "Gold", f"{n.gold_images:,} images", f"{n.gold_boxes:,} human boxes", "data"),
        _draw_box(
            272, 20, "Teacher on Ray", f"{n.phrases:,} phrases asked", f"{n.units} units committed", "work"
        ),
        _draw_box(544, 20, "Evidence", f"{n.evidence_regions:,} regions", _format_fates(n), "data"),
        _draw_box(816, 20, "View", f"{n.kept_regions:,} boxes kept", f"on {n.kept_samples:,} images", "data"),
        _draw_box(544, 232, "Student", f"{n.train_steps:,} steps", "gold + view", "work"),
        _draw_box(816, 232, "Evaluation", f"{n.test_images:,} held-out images", "beside the control", "work"),
    ]
    arrows = [
        _draw_arrow("M176 62 H264", "find phrases", 220, 50),
        _draw_arrow("M448 62 H536", "label", 492, 50),
        _draw_arrow("M720 62 H808", "policy", 764, 50),
        _draw_arrow("M88 232 V168 H360 V112", "trains the first teacher", 224, 160),
        _draw_arrow("M176 274 H536", "human labels", 356, 266),
        _draw_arrow("M904 104 V168 H656 V224", "audited labels", 780, 160),
        _draw_arrow("M720 274 H808", "", 0, 0),
        _draw_arrow("M584 232 V190 H404 V112", "promoted: the next teacher", 494, 182, "back"),
    ]
    tip = element(
        "marker",
        element("path", d="M0 0 L8 4 L0 8 z", class_="tip"),
        id="tip", markerWidth=8, markerHeight=8, refX=7, refY=4, orient="auto", markerUnits="userSpaceOnUse",
    )  # fmt: skip
    return element(
        "svg",
        element(
            "title", "The loop: web images are labeled by a teacher, a policy makes a view, a student learns"
        ),
        element("defs", tip),
        *arrows,
        *boxes,
        viewBox=f"-4 8 {WIDTH} {HEIGHT - 8}",
        class_="loop",
        role="img",
    )


def _format_fates(n: LoopNumbers) -> str:
    return f"{n.labelled:,} with, {n.empty:,} without" + (f", {n.rejected:,} rejected" if n.rejected else "")


def _draw_box(x: int, y: int, name: str, first: str, second: str, style: str) -> Markup:
    center = x + BOX_WIDTH / 2
    return element(
        "g",
        element("rect", x=x, y=y, width=BOX_WIDTH, height=BOX_HEIGHT, rx=10, class_=f"box {style}"),
        element("text", name, x=center, y=y + 26, class_="box-name"),
        element("text", first, x=center, y=y + 48, class_="box-text"),
        element("text", second, x=center, y=y + 67, class_="box-text soft"),
    )


def _draw_arrow(path: str, text: str, x: float, y: float, style: str = "") -> Markup:
    return element(
        "g",
        element("path", d=path, class_=f"arrow {style}".strip(), marker_end="url(#tip)"),
        element("text", text, x=x, y=y, class_="arrow-text") if text else None,
    )
