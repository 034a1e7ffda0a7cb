"""`status --watch`: a screen that is redrawn on a terminal, a line for each change elsewhere, JSON lines on request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.cli.shell import give, moves_cursor, say, shows_progress
from pipelines.cli.status_text import line_of, progress_lines, summary_text


def show(looks: Iterator[dict[str, Any]], as_json: bool) -> dict[str, Any]:
    """Show every look, and the last one as `status` does; the last one."""
    if as_json:
        return _stream(looks)
    last = _live(looks) if moves_cursor() and shows_progress() else _lines(looks)
    give(False, last, _text(last))
    return last


def _stream(looks: Iterator[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for found in looks:
        give(True, found, "")
    return found


def _lines(looks: Iterator[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    said = ""
    for found in looks:
        line = line_of(found)
        if line != said and shows_progress():
            say(line)
        said = line
    return found


def _live(looks: Iterator[dict[str, Any]]) -> dict[str, Any]:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    found: dict[str, Any] = {}
    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as screen:
        for found in looks:
            screen.update(Text(_text(found)), refresh=True)
    return found


def _text(found: dict[str, Any]) -> str:
    return "\n".join([summary_text(found), *progress_lines(found["progress"])])
