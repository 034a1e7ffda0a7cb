"""Puts tables between markers of docs/headline.md, and cells into a JSON file beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.headline.cells import Cell, CellStore, in_order
from schemas.errors import NotFoundError

UNMEASURED = "Not measured yet."


def put_between(path: Path, section: str, text: str) -> None:
    """Replace what stands between `<!-- SECTION -->` and `<!-- /SECTION -->`.

    Raises NotFoundError without the markers.
    """
    first, last = f"<!-- {section} -->", f"<!-- /{section} -->"
    page = path.read_text(encoding="utf-8")
    if page.count(first) != 1 or page.count(last) != 1:
        raise NotFoundError(f"{path} needs the markers {first} and {last}, once each: put them back")
    before, rest = page.split(first)
    after = rest.split(last)[1]
    path.write_text(f"{before}{first}\n{text}\n{last}{after}", encoding="utf-8")


def write_page(path: Path, sections: dict[str, str]) -> None:
    """Put every section; one whose markers the page has not gets them at its end, so that no result is lost."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    for name, text in sections.items():
        if f"<!-- {name} -->" not in path.read_text(encoding="utf-8"):
            with path.open("a", encoding="utf-8") as page:
                page.write(f"<!-- {name} -->\n<!-- /{name} -->\n")
        put_between(path, name, text)


def write_cells(path: Path, store: CellStore, targets: Iterable[Cell]) -> None:
    """All cells of the targets: digest, inputs, cost and result, or why there is none."""
    rows = [_describe(store, cell) for cell in in_order(targets)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_cells(path: Path, instructions: str) -> dict[str, dict[str, Any]]:
    """Return the cells that a file of `write_cells` lists as done, by digest, or none without a file.

    instructions: of this machine; a cell that ran with others rounded otherwise, so its result is not comparable with
                  those that run here
    """
    if not path.exists():
        return {}
    rows = json.loads(path.read_text(encoding="utf-8"))
    return {row["digest"]: row for row in rows if row.get("instructions") == instructions}


def _describe(store: CellStore, cell: Cell) -> dict[str, Any]:
    record = store.load_record(cell)
    row: dict[str, Any] = {"title": cell.title, "kind": cell.kind, "digest": cell.digest}
    row["inputs"] = {role: needed.digest for role, needed in cell.inputs.items()}
    if record is None:
        return row | {"missing": store.why_missing(cell)}
    return row | {name: record[name] for name in ("cpu_s", "instructions", "result") if name in record}


def costs_table(store: CellStore, targets: Iterable[Cell]) -> list[tuple[str, int, float]]:
    """(kind, cells done, mean CPU seconds of one) in the order of the first cell of each kind."""
    spent: dict[str, list[float]] = {}
    for cell in in_order(targets):
        if (record := store.load_record(cell)) is not None:
            spent.setdefault(cell.kind, []).append(record["cpu_s"])
    return [(kind, len(some), sum(some) / len(some)) for kind, some in spent.items()]
