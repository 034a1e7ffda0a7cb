"""How a verb speaks: data on stdout, everything else on stderr, errors as one message and an exit code."""

from __future__ import annotations

import functools
import inspect
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import typer

from engine.redaction import redact
from schemas.errors import ConfigError, GroundswellError, NotFoundError, RuntimeEnvironmentError

EXIT_CODES = (
    "Exit codes: 0 ok; 1 failed; 2 usage or configuration; 3 finished with failed, quarantined or unfinished "
    "units, too many rejected samples or a gate not passed; 4 not found; 5 conflict; 6 environment; 130 interrupted."
)
JSON = typer.Option(False, "--json", help="One JSON object on stdout instead of text.")
SET = typer.Option([], "--set", metavar="NAME=VALUE", help="Override a field, e.g. --set run.batch_size=8.")
ADDRESS = typer.Option(
    None, help="A running Ray cluster, host:port; else run.address, RAY_ADDRESS, then one of this machine."
)
LOG = typer.Option(
    None,
    "--log-format",
    envvar="GROUNDSWELL_LOG",
    help="Log lines on stderr and in OUT/logs: text or json, maybe with a level, e.g. json,debug.",
)
OVERWRITE = typer.Option(
    False, "--overwrite", help="Replace what this verb wrote there before; never the output of another verb."
)
EVERY_VERB = {
    "debug": typer.Option(
        False, "--debug", envvar="GROUNDSWELL_DEBUG", help="Show the traceback of an error, too."
    ),
    "no_progress": typer.Option(
        False, "--no-progress", envvar="GROUNDSWELL_NO_PROGRESS", help="No progress on stderr."
    ),
}
_quiet: ContextVar[bool] = ContextVar("groundswell_quiet", default=False)


def example(*lines: str) -> str:
    """The end of a `--help`: examples, kept line by line."""
    return "\b\nExample:\n" + "\n".join("  " + line for line in lines)


def parse_roots(given: list[str]) -> dict[str, str]:
    """Parse `--root WAS=NOW`. Raises ConfigError."""
    pairs = [item.partition("=") for item in given]
    for was, equals, now in pairs:
        if not (was and equals and now):
            raise ConfigError(f"--root {was}{equals}{now}: expected WAS=NOW, e.g. --root s3://old/=/mnt/new/")
    return {was: now for was, _, now in pairs}


def verb(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run a verb; an error becomes its message on stderr and its exit code. Adds what every verb can: EVERY_VERB."""

    @functools.wraps(function)
    def run(*args: Any, debug: bool = False, no_progress: bool = False, **kwargs: Any) -> None:
        quiet = _quiet.set(no_progress)
        try:
            function(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except (Exception, KeyboardInterrupt) as error:
            if debug:
                say(traceback.format_exc().rstrip())
            message, code = _explained(error)
            say("\n".join([message, *getattr(error, "__notes__", ())]))
            raise typer.Exit(code) from None
        finally:
            _quiet.reset(quiet)

    signature = inspect.signature(function, eval_str=True)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=bool)
        for name, option in EVERY_VERB.items()
    ]
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *added])  # type: ignore[attr-defined]
    run.__annotations__ = {**function.__annotations__, **dict.fromkeys(EVERY_VERB, bool)}
    return run


def _explained(error: BaseException) -> tuple[str, int]:
    """An error's message and exit code."""
    match error:
        case GroundswellError():
            return f"error: {error}", error.exit_code
        case KeyboardInterrupt():
            return "interrupted; the same command continues where it stopped", 130
        case FileNotFoundError():
            return f"error: {error}; give a path that exists", NotFoundError.exit_code
        case ConnectionError():
            hint = (
                "check that it runs, the address (storage.endpoint_url or AWS_ENDPOINT_URL) and the network"
            )
            return f"error: {error}; {hint}", RuntimeEnvironmentError.exit_code
        case OSError():
            hint = "check that the place exists, may be written and has room"
            return f"error: {error}; {hint}", RuntimeEnvironmentError.exit_code
    first = str(error).strip().split("\n", 1)[0][:500]
    return (
        f"error: {type(error).__name__}: {first} (unforeseen; the traceback is in {_kept_traceback()}, and --debug or "
        "GROUNDSWELL_DEBUG=1 shows it)"
    ), 1


def _kept_traceback() -> str:
    """The path of a file, readable by this user alone, that holds the traceback of the error at hand."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="groundswell-error-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write(redact(traceback.format_exc()))
            return file.name
    except OSError as error:
        return f"no file ({error})"


def say(text: str) -> None:
    """A line on stderr, without secrets."""
    print(redact(text), file=sys.stderr, flush=True)


def give(as_json: bool, data: Any, text: str) -> None:
    """The result on stdout: the data as JSON, or its text."""
    print(json.dumps(data, ensure_ascii=False, indent=None, allow_nan=False) if as_json else text, flush=True)


class Progress:
    """Progress on stderr with the time left: one moving line on a terminal, a plain line every few seconds elsewhere.

    Nothing with --no-progress.
    """

    def __init__(self, every_s: float = 5.0) -> None:
        self._every_s = every_s
        self._label = ""
        self._began = self._spoke = 0.0
        self._terminal = moves_cursor()
        self._quiet = _quiet.get()

    def __call__(self, label: str, done: int, total: int) -> None:
        """Tell that `done` of `total` steps of `label` are behind us."""
        now = time.monotonic()
        if label != self._label:
            self._label, self._began, self._spoke = label, now, 0.0
        finished = total > 0 and done >= total
        if self._quiet or (not finished and now - self._spoke < (0.2 if self._terminal else self._every_s)):
            return
        self._spoke = now
        self._draw(self._line(label, done, total, now - self._began), finished)

    def _line(self, label: str, done: int, total: int, spent_s: float) -> str:
        left = f", {clock(spent_s / done * (total - done))} left" if 0 < done < total else ""
        full = round(min(done / total, 1.0) * 24) if total else 0
        bar = "█" * full + "░" * (24 - full) + " " if self._terminal else ""
        return f"{label}  {bar}{done}/{total}, {clock(spent_s)}{left}"

    def _draw(self, line: str, finished: bool) -> None:
        if self._terminal:
            print(f"\r\x1b[2K{line}", end="\n" if finished else "", file=sys.stderr, flush=True)
        else:
            say(line)


def moves_cursor() -> bool:
    """Whether stderr is a terminal that lines can be redrawn on."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def shows_progress() -> bool:
    """Whether the verb at hand may tell its progress."""
    return not _quiet.get()


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
