"""What came of one HTTP exchange: a completion, or a fault and who is to blame for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum

from pydantic import JsonValue

MAX_REPLY_BYTES = 8 << 20
_MESSAGE_CHARACTERS = 160


class Blame(Enum):
    """Who is to blame for a fault, which decides what happens next."""

    SETUP = "setup"
    """Key, address or model: no request can succeed. The run ends."""
    SERVICE = "service"
    """The endpoint is overloaded or down. After some tries the run ends."""
    UNKNOWN = "unknown"
    """The server's error, or this sample's. After some tries the sample is rejected, if others succeed."""
    SAMPLE = "sample"
    """The endpoint refuses this request. The sample is rejected at once."""


@dataclass(frozen=True)
class Fault:
    """Why a request got no answer. The text has no key in it."""

    blame: Blame
    text: str
    retry_after_s: float = 0.0


@dataclass(frozen=True)
class Completion:
    """The answer of a model. No text means that it refused to answer."""

    text: str | None
    finish_reason: str | None


_OF_SETUP = frozenset({401, 402, 403, 404, 405})
_OF_SERVICE = frozenset({429, 503})
_RETRIED_4XX = frozenset({408, 409, 425})


def read_reply(status: int, body: bytes, retry_after_s: float = 0.0) -> Completion | Fault:
    """Return the completion of a reply, or the fault that its status and body show."""
    if 200 <= status < 300:
        return _read_completion(body)
    return Fault(_find_blame(status), f"HTTP {status}{_read_message(body)}", retry_after_s)


def _find_blame(status: int) -> Blame:
    if status < 400 or status in _OF_SETUP:  # a redirect is an address to correct
        return Blame.SETUP
    if status in _OF_SERVICE:
        return Blame.SERVICE
    return Blame.UNKNOWN if status >= 500 or status in _RETRIED_4XX else Blame.SAMPLE


def _read_message(body: bytes) -> str:
    """Return the error message of a reply, or the beginning of its text."""
    text = body.decode("utf-8", "replace").strip()
    value = _parse(body)
    if isinstance(value, dict):
        error = value.get("error", value)
        message = error.get("message") if isinstance(error, dict) else error
        text = message if isinstance(message, str) else text
    text = " ".join(text.split())
    return f": {text[:_MESSAGE_CHARACTERS]}" if text else ""


def _read_completion(body: bytes) -> Completion | Fault:
    """Read the first choice of a chat completion."""
    value = _parse(body)
    choices = value.get("choices") if isinstance(value, dict) else None
    if not isinstance(choices, list):
        return Fault(Blame.SETUP, f"the reply is not a chat completion{_read_message(body)}")
    first = choices[0] if choices else {}
    message = first.get("message") if isinstance(first, dict) else None
    reason = first.get("finish_reason") if isinstance(first, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    return Completion(_join_parts(content), reason if isinstance(reason, str) else None)


def _join_parts(content: JsonValue) -> str | None:
    """Return the text of a message, which may be a list of parts."""
    if isinstance(content, list):
        parts = [
            part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"
        ]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else None


def _parse(body: bytes) -> JsonValue:
    """Return the JSON value of a body; None if it is not JSON."""
    try:
        value: JsonValue = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value
