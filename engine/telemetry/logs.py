"""Log lines of driver and workers: text for people, or one JSON object a line that names run, unit and attempt.

Promise: a line holds no secret and no more of an input than the bounded details that rejections hold.
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
from schemas.errors import ConfigError
from schemas.settings import Settings

ROOMS = ("schemas", "engine", "teacher", "student", "pipelines")
MAX_TEXT = 8_000
VARIABLE = "GROUNDSWELL_LOG"
Level = Literal["debug", "info", "warning", "error"]
_about: ContextVar[dict[str, str | int] | None] = ContextVar("groundswell_log_context", default=None)


class LogSettings(Settings):
    """How log lines look and how many there are."""

    format: Literal["text", "json"] = Field("text", description="for people, or one JSON object a line")
    level: Level = Field("warning", description="text: warning by default; json: info")


_current = LogSettings()


def parse_log_settings(text: str | None = None) -> LogSettings:
    """`json`, `text`, `debug`, `json,debug`: a format, a level or both; none: the variable GROUNDSWELL_LOG.

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
                f"log format {text!r}: expected text or json, maybe with a level, e.g. json,debug"
            )
    default = "info" if found.get("format") == "json" else "warning"
    return LogSettings.model_validate({"level": default} | found)


def configure(settings: LogSettings, **log_context: str | int) -> None:
    """Send our rooms' lines to stderr in that form; calling it again replaces the earlier one."""
    global _current
    _current = settings
    _about.set({**log_context})
    handler = _Stderr()
    handler.setFormatter(_Json() if settings.format == "json" else _Text())
    for room in ROOMS:
        logger = logging.getLogger(room)
        logger.handlers = [other for other in logger.handlers if not isinstance(other, _Stderr)] + [handler]
        logger.setLevel(settings.level.upper())


def current_settings() -> LogSettings:
    """What was configured last in this process."""
    return _current


@contextmanager
def log_context(**names: str | int) -> Iterator[None]:
    """Within, every line of this thread names these things too: run, unit, attempt."""
    token = _about.set((_about.get() or {}) | names)
    try:
        yield
    finally:
        _about.reset(token)


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what is stderr at that moment, as a redirection may change it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """See StreamHandler."""
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
            **(_about.get() or {}),
            "message": redact(record.getMessage())[:MAX_TEXT],
        }
        if record.exc_info:
            line["traceback"] = redact(self.formatException(record.exc_info))[-MAX_TEXT:]
        return json.dumps(line, ensure_ascii=False)
