"""Write the table old file -> new file of `docs/decisions/0008-layout-of-the-packages.md` from the history.

Run it after files were moved: `python tests/docs/layout_table.py`. Git compares two steps, because a file that moved
and was then rewritten resembles its origin too little to be found in one: BEFORE to MOVED, then MOVED to the index.
A file that git calls deleted keeps the place that the table names for it, so write that place by hand once.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

BEFORE, MOVED = "fcd9b55", "37120dc"
ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "docs/decisions/0008-layout-of-the-packages.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of the table -->\n"
HEAD = "| old file | new file |\n|---|---|\n"
REMOVED = "removed"
SUFFIXES = (".py", ".css", ".html", ".js")


def read_table(text: str) -> dict[str, str]:
    """Return new file (or a remark) by old file."""
    body = text.split(BEGIN)[1].split(END)[0]
    lines = [line.strip("| ").split(" | ") for line in body.splitlines()[2:]]
    return {old.strip("`"): new if " " in new else new.strip("`") for old, new in lines}


def trace_moves(known: dict[str, str]) -> dict[str, str]:
    """Return where each file of BEFORE is now, without files that did not move."""
    first, second = _diff(BEFORE, MOVED, 50), _diff(MOVED, "", 35)
    moves = {old: second.get(new, new) for old, new in first.items()}
    moves |= {
        old: new for old, new in second.items() if old not in moves.values() and old not in first.values()
    }
    existed = set(_git("ls-tree", "-r", "--name-only", BEFORE).splitlines())
    return {
        old: keep_if_valid(known.get(old, REMOVED)) if new == REMOVED else new
        for old, new in sorted(moves.items())
        if old in existed and old.endswith(SUFFIXES) and not old.endswith("__init__.py")
        if old != new and not (new == REMOVED and (ROOT / old).is_file())
    }


def keep_if_valid(place: str) -> str:
    """Return a place that was written by hand, unless it is a file that is gone."""
    return place if " " in place or (ROOT / place).is_file() else REMOVED


def write_table(text: str) -> str:
    """Return the record with its table made anew."""
    rows = trace_moves(read_table(text)).items()
    table = HEAD + "".join(
        f"| `{old}` | {new if ' ' in new or new == REMOVED else f'`{new}`'} |\n" for old, new in rows
    )
    before, rest = text.split(BEGIN)
    return before + BEGIN + table + END + rest.split(END)[1]


def _diff(before: str, after: str, percent: int) -> dict[str, str]:
    """Return the moves between two commits (the index, if `after` is empty); REMOVED for a file that is gone."""
    sides = [before, after] if after else ["--cached", before]
    moves = {}
    for line in _git("diff", f"-M{percent}%", "-l2000", "--name-status", *sides).splitlines():
        kind, old, *new = line.split("\t")
        if kind[0] in "RD":
            moves[old] = new[0] if new else REMOVED
    return moves


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    RECORD.write_text(write_table(RECORD.read_text(encoding="utf-8")), encoding="utf-8")
