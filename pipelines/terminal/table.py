"""Plain text tables."""

from __future__ import annotations

from collections.abc import Sequence


def format_table(rows: Sequence[Sequence[object]], header: Sequence[str]) -> str:
    """Format rows as text columns under a header. Columns of numbers are aligned to the right; None is empty."""
    cells = [[*header], *(["" if cell is None else str(cell) for cell in row] for row in rows)]
    lines = align_columns(cells)
    rule = "  ".join("-" * width for width in _widths(cells))
    return "\n".join([lines[0], rule, *lines[1:]])


def align_columns(cells: Sequence[Sequence[str]]) -> list[str]:
    """Pad the cells of each column to one width, numbers to the right. The first row is the header."""
    widths = _widths(cells)
    is_right = [len(cells) > 1 and all(map(_is_number, column[1:])) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, is_right, strict=True)
        ).rstrip()
        for row in cells
    ]


def _widths(cells: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*cells, strict=True)]


def _is_number(text: str) -> bool:
    digits = text.replace(".", "", 1).replace("-", "", 1).replace(",", "").rstrip("%")
    return digits.isdigit() or text in ("", "-")
