"""Log lines of driver and workers: text for people, or JSON lines with run, unit and attempt.

A line has no secret, and no more of an input than the bounded details of rejections.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal, TextIO

from pydantic import Field

from engine.redaction import redact
from schemas import PACKAGES
from schemas.errors import ConfigError
from schemas.settings import Settings

MAX_TEXT = 8_000
VARIABLE = "GROUNDSWELL_LOG"
Level = Literal["debug", "info", "warning", "error"]
_context: ContextVar[dict[str, str | int] | None] = ContextVar("groundswell_log_context", default=None)


class LogSettings(Settings):
    """Form and level of log lines."""

    format: Literal["text", "json"] = Field(
        "text", description="text for people, or one JSON object per line"
    )
    level: Level = Field("warning", description="text: warning by default; json: info")


_current = LogSettings()


def parse_log_settings(text: str | None = None) -> LogSettings:
    """Parse `json`, `text`, `debug` or `json,debug`: a format, a level or both.

    text:   default: the environment variable GROUNDSWELL_LOG
    raises: ConfigError for another word
    """
    found: dict[str, str] = {}
    text = os.environ.get(VARIABLE, "") if text is None else text
    for word in filter(None, text.replace(":", ",").lower().split(",")):
        if word in ("text", "json"):
            found["format"] = word
        elif word in ("debug", "info", "warning", "error"):
            found["level"] = word
        else:
            raise ConfigError(
                f"log format {text!r}: expected text or json, and optionally a level, for example json,debug"
            )
    default = "info" if found.get("format") == "json" else "warning"
    return LogSettings.model_validate({"level": default} | found)


def configure(settings: LogSettings, **names: str | int) -> None:
    """Send our log lines to stderr in the given form. A second call replaces the first."""
    global _current
    _current = settings
    _context.set({**names})
    handler = _Stderr()
    handler.setFormatter(_Json() if settings.format == "json" else _Text())
    for package in PACKAGES:
        logger = logging.getLogger(package)
        logger.handlers = [other for other in logger.handlers if not isinstance(other, _Stderr)] + [handler]
        logger.setLevel(settings.level.upper())


def current_settings() -> LogSettings:
    """Return the settings that were configured last in this process."""
    return _current


@contextmanager
def log_context(**names: str | int) -> Iterator[None]:
    """Add these names (run, unit, attempt) to every line that this thread logs inside the block."""
    token = _context.set((_context.get() or {}) | names)
    try:
        yield
    finally:
        _context.reset(token)


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to the current stderr, because a redirection may change it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """The current stderr."""
        return sys.stderr


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))[:MAX_TEXT]


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, str | int] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            **(_context.get() or {}),
            "message": redact(record.getMessage())[:MAX_TEXT],
        }
        if record.exc_info:
            line["traceback"] = redact(self.formatException(record.exc_info))[-MAX_TEXT:]
        return json.dumps(line, ensure_ascii=False)
