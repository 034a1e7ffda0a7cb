"""Draw the lineage as SVG: a column for the inputs, then a column for each step of each round."""

from __future__ import annotations

from collections import defaultdict

from pipelines.reporting.markup import Markup, element
from pipelines.rounds.lineage import Edge, Lineage, Node
from schemas.digests import shorten_digest

BOX_WIDTH, BOX_HEIGHT, GAP_X, GAP_Y = 132, 44, 34, 22
_DIGITS = 8
_WORK = {"model"}


def draw_lineage(lineage: Lineage) -> Markup:
    """Draw every node to the right of its sources. Titles contain the whole digests."""
    places = _place_nodes(lineage)
    columns = max(x for x, _ in places.values()) + 1
    rows = max(y for _, y in places.values()) + 1
    tip = element(
        "marker",
        element("path", d="M0 0 L8 4 L0 8 z", class_="tip"),
        id="tip", markerWidth=8, markerHeight=8, refX=7, refY=4, orient="auto", markerUnits="userSpaceOnUse",
    )  # fmt: skip
    width, height = columns * (BOX_WIDTH + GAP_X), rows * (BOX_HEIGHT + GAP_Y)
    return element(
        "svg",
        element("title", "Where every model and view comes from"),
        element("defs", tip),
        *[_arrow(edge, places) for edge in lineage.edges],
        *[_box(node, places[node.id]) for node in lineage.nodes],
        viewBox=f"-4 -4 {width} {height}",
        style=f"min-width: {width}px",
        class_="loop",
        role="img",
    )


def _place_nodes(lineage: Lineage) -> dict[str, tuple[int, int]]:
    """Return (column, row) of each node. The column is the length of the longest path to it."""
    depth: dict[str, int] = {}
    used_rows: dict[int, int] = defaultdict(int)
    places = {}
    for node in lineage.nodes:  # sources come before the nodes made from them
        depth[node.id] = 1 + max(
            (depth.get(edge.source, 0) for edge in lineage.edges if edge.to == node.id), default=-1
        )
        column = depth[node.id]
        places[node.id] = (column, used_rows[column])
        used_rows[column] += 1
    return places


def _corner(place: tuple[int, int]) -> tuple[int, int]:
    return place[0] * (BOX_WIDTH + GAP_X), place[1] * (BOX_HEIGHT + GAP_Y)


def _box(node: Node, place: tuple[int, int]) -> Markup:
    x, y = _corner(place)
    center, style = x + BOX_WIDTH / 2, "work" if node.kind in _WORK else "data"
    return element(
        "g",
        element("title", f"{node.kind} {node.name}: {node.id}"),
        element("rect", x=x, y=y, width=BOX_WIDTH, height=BOX_HEIGHT, rx=8, class_=f"box {style}"),
        element("text", node.name, x=center, y=y + 18, class_="box-text"),
        element("text", shorten_digest(node.id, _DIGITS), x=center, y=y + 35, class_="box-text soft"),
    )


def _arrow(edge: Edge, places: dict[str, tuple[int, int]]) -> Markup:
    (x0, y0), (x1, y1) = _corner(places[edge.source]), _corner(places[edge.to])
    start, end = (x0 + BOX_WIDTH, y0 + BOX_HEIGHT / 2), (x1 - 6, y1 + BOX_HEIGHT / 2)
    bend = GAP_X * 0.7
    path = (
        f"M{start[0]:g} {start[1]:g} C{start[0] + bend:g} {start[1]:g} "
        f"{end[0] - bend:g} {end[1]:g} {end[0]:g} {end[1]:g}"
    )
    line = element("path", d=path, class_="arrow", marker_end="url(#tip)")
    return element("g", element("title", edge.by), line)
