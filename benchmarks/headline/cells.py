"""A cell: one piece of the grid, known by the digest of all that decides its result.

Promise: the digest covers kind, settings, code and, through the inputs' digests, everything before; it covers no path
and no title, so two rows of a table that need the same training share it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.headline.sources import code_of
from schemas.digests import digest_of, shorten_digest

RECORD, FAILURE = "cell.json", "failure.txt"
LAST = "evaluate"  # the kind that no other takes as an input


@dataclass(frozen=True, eq=False)
class Cell:
    """One run of a stage. `inputs` are cells by the role that the stage knows them in."""

    kind: str
    title: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, Cell] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """`sha256:<hex>`: equal digests mean equal results."""
        before = {role: cell.digest for role, cell in self.inputs.items()}
        return digest_of([self.kind, self.settings, code_of(self.kind), before])

    @property
    def name(self) -> str:
        """The cell's folder."""
        return f"{self.kind}-{shorten_digest(self.digest)}"


def in_order(targets: Iterable[Cell], skip: frozenset[str] = frozenset()) -> list[Cell]:
    """Every cell that the targets need, each once, inputs first. Cells whose digest is in `skip` need nothing."""
    found: dict[str, Cell] = {}

    def visit(cell: Cell) -> None:
        if cell.digest in found or cell.digest in skip:
            return
        for needed in cell.inputs.values():
            visit(needed)
        found[cell.digest] = cell

    for target in targets:
        visit(target)
    return list(found.values())


@dataclass(frozen=True)
class CellStore:
    """The folder of all cells. A cell is done when its record was written, last.

    kept: the records in a page's JSON file, by digest. An evaluation in it counts as done, since nothing else reads its
          folder. Of any other kind the folder itself is needed.
    """

    root: Path
    kept: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def folder(self, cell: Cell) -> Path:
        """Where a cell keeps what it makes."""
        return self.root / "cells" / cell.name

    def record(self, cell: Cell) -> dict[str, Any] | None:
        """`{"digest", "title", "kind", "cpu_s", "result", ...}` of a done cell; None for any other."""
        return self.load_record(cell) if cell.kind == LAST else self._own(cell)

    def load_record(self, cell: Cell) -> dict[str, Any] | None:
        """Return the record of a cell that is done here, or is among the kept ones."""
        kept = self.kept.get(cell.digest)
        return self._own(cell) or (None if kept is None else dict(kept))

    def _own(self, cell: Cell) -> dict[str, Any] | None:
        try:
            record = json.loads((self.folder(cell) / RECORD).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return dict(record) if record.get("digest") == cell.digest else None

    def result(self, cell: Cell) -> dict[str, Any] | None:
        """Return the result of a cell that is done."""
        record = self.record(cell)
        return None if record is None else dict(record["result"])

    def failure(self, cell: Cell) -> str | None:
        """Return the last lines of a cell whose last run failed."""
        path = self.folder(cell) / FAILURE
        return path.read_text(encoding="utf-8") if path.exists() else None

    def done(self, cells: Iterable[Cell]) -> frozenset[str]:
        """Digests of those cells that are done."""
        return frozenset(cell.digest for cell in cells if self.record(cell) is not None)

    def missing(self, targets: Iterable[Cell]) -> list[Cell]:
        """Return the cells that the targets still need, inputs first. Inputs of cells that are done are left out."""
        targets = list(targets)
        return in_order(targets, self.done(in_order(targets)))

    def why_missing(self, cell: Cell) -> str:
        """In a few words: failed, waits for a failed input, or was not run."""
        if (text := self.failure(cell)) is not None:
            return f"{cell.title} failed: {_last_line(text)}"
        causes: Iterator[str] = (
            self.why_missing(needed) for needed in cell.inputs.values() if self.record(needed) is None
        )
        return next(causes, "not run")


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
