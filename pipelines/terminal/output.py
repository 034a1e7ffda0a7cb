"""Print results on stdout and messages on stderr."""

from __future__ import annotations

import json
import os
import sys

from engine.redaction import redact


def print_message(text: str) -> None:
    """Print a line on stderr, with secrets redacted."""
    print(redact(text), file=sys.stderr, flush=True)


def print_result(as_json: bool, data: object, text: str) -> None:
    """Print a verb's result on stdout: `data` as one line of JSON, or `text`."""
    print(json.dumps(data, ensure_ascii=False, indent=None, allow_nan=False) if as_json else text, flush=True)


def is_live_terminal() -> bool:
    """Return whether stderr is a terminal on which a line can be redrawn."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
