"""Reports with two outputs: JSON for scripts, and plain text tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.terminal.table import align_columns
from schemas.records import Record

BAR_CHARACTERS = 30


@dataclass(frozen=True)
class Table:
    """A titled table. Every cell is text."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self) -> str:
        """Return the lines of the table. Columns are padded, columns of numbers are right-aligned."""
        lines = align_columns([self.header, *self.rows])
        return "\n".join([self.title, *("  " + line for line in lines)])


class Report(Record):
    """Base class of the result of a command."""

    def data(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return self.model_dump(mode="json")

    def tables(self) -> list[Table]:
        """Return the report as tables, in reading order."""
        raise NotImplementedError

    def text(self) -> str:
        """Join the tables into one text. Tables without rows are omitted."""
        return "\n\n".join(table.text() for table in self.tables() if table.rows)


def bars(title: str, what: str, counted: str, counts: Mapping[str, int]) -> Table:
    """Make a table of counts with a bar for each. The greatest count has the longest bar."""
    most = max(counts.values(), default=0)
    rows = [
        (name, str(n), "█" * round(BAR_CHARACTERS * n / most) if most else "") for name, n in counts.items()
    ]
    return Table(title, (what, counted, ""), rows)


def share(part: int, whole: int) -> str:
    """Format a share as `3 of 4 (75.0 %)`."""
    return f"{part} of {whole} ({100 * part / whole:.1f} %)" if whole else f"{part} of 0"
