"""How a verb speaks: data on stdout, everything else on stderr, errors as one message and an exit code."""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import typer

from schemas.errors import EnvironmentProblem, GroundswellError, NotFound

EXIT_CODES = (
    "Exit codes: 0 ok; 1 failed; 2 usage or configuration; 3 finished with failed or quarantined units or a gate "
    "not passed; 4 not found; 5 conflict; 6 environment; 130 interrupted."
)
JSON = typer.Option(False, "--json", help="One JSON object on stdout instead of text.")
SET = typer.Option([], "--set", metavar="NAME=VALUE", help="Override a field, e.g. --set run.batch_size=8.")


def example(*lines: str) -> str:
    """The end of a `--help`: examples, kept line by line."""
    return "\b\nExample:\n" + "\n".join("  " + line for line in lines)


def verb(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run a verb; an error becomes its message on stderr and its exit code."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except GroundswellError as error:
            say(f"error: {error}")
            raise typer.Exit(error.exit_code) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except FileNotFoundError as error:
            say(f"error: {error}; give a path that exists")
            raise typer.Exit(NotFound.exit_code) from None
        except OSError as error:
            say(f"error: {error}; check that the place exists, may be written and has room")
            raise typer.Exit(EnvironmentProblem.exit_code) from None
        except KeyboardInterrupt:
            say("interrupted; the same command continues where it stopped")
            raise typer.Exit(130) from None

    return run


def say(text: str) -> None:
    """A line on stderr."""
    print(text, file=sys.stderr, flush=True)


def give(as_json: bool, data: Any, text: str) -> None:
    """The result on stdout: the data as JSON, or its text."""
    print(json.dumps(data, ensure_ascii=False, indent=None, allow_nan=False) if as_json else text, flush=True)


class Progress:
    """Progress on stderr with the time left: one moving line on a terminal, a line every few seconds elsewhere."""

    def __init__(self, every_s: float = 5.0) -> None:
        self._every_s = every_s
        self._label = ""
        self._began = self._spoke = 0.0
        self._terminal = sys.stderr.isatty()

    def __call__(self, label: str, done: int, total: int) -> None:
        """Tell that `done` of `total` steps of `label` are behind us."""
        now = time.monotonic()
        if label != self._label:
            self._label, self._began, self._spoke = label, now, 0.0
        finished = total > 0 and done >= total
        if not finished and now - self._spoke < (0.2 if self._terminal else self._every_s):
            return
        self._spoke = now
        self._draw(self._line(label, done, total, now - self._began), finished)

    def _line(self, label: str, done: int, total: int, spent_s: float) -> str:
        left = f", {clock(spent_s / done * (total - done))} left" if 0 < done < total else ""
        share = min(done / total, 1.0) if total else 0.0
        bar = "█" * round(share * 24) + "░" * (24 - round(share * 24))
        return f"{label}  {bar} {done}/{total}, {clock(spent_s)}{left}"

    def _draw(self, line: str, finished: bool) -> None:
        if self._terminal:
            print(f"\r\x1b[2K{line}", end="\n" if finished else "", file=sys.stderr, flush=True)
        else:
            say(line)


def clock(seconds: float) -> str:
    """`72` as `1:12`."""
    whole = int(seconds + 0.5)
    return f"{whole // 60}:{whole % 60:02d}"


def table(rows: list[list[Any]], header: list[str]) -> str:
    """A plain text table; numbers to the right."""
    cells = [header] + [["" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(header))]
    right = [all(_is_number(row[i]) for row in cells[1:]) and len(cells) > 1 for i in range(len(header))]
    lines = [
        "  ".join(cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(line, widths, right)).rstrip()
        for line in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace("-", "", 1).replace(",", "").rstrip("%").isdigit() or text in (
        "",
        "-",
    )
