"""`status --watch`: a redrawn screen on a terminal, a line per change elsewhere, JSON lines with --json."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.cli.status_text import format_progress, format_status_line, format_summary
from pipelines.label.progress.status import Status
from pipelines.terminal.output import is_live_terminal, print_message, print_result
from pipelines.terminal.progress import is_progress_shown


def show_status(updates: Iterator[Status], as_json: bool) -> Status:
    """Show every update, and the last one as `status` does. Return the last one; there is at least one."""
    if as_json:
        return _print_json(updates)
    last = _redraw(updates) if is_live_terminal() and is_progress_shown() else _print_lines(updates)
    print_result(False, last, _format(last))
    return last


def _print_json(updates: Iterator[Status]) -> Status:
    status = None
    for status in updates:
        print_result(True, status, "")
    assert status is not None, "a status was read"
    return status


def _print_lines(updates: Iterator[Status]) -> Status:
    status, printed = None, ""
    for status in updates:
        line = format_status_line(status)
        if line != printed and is_progress_shown():
            print_message(line)
        printed = line
    assert status is not None, "a status was read"
    return status


def _redraw(updates: Iterator[Status]) -> Status:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    status = None
    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as screen:
        for status in updates:
            screen.update(Text(_format(status)), refresh=True)
    assert status is not None, "a status was read"
    return status


def _format(status: Status) -> str:
    return "\n".join([format_summary(status), *format_progress(status["progress"])])
