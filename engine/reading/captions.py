"""Read untrusted captions: strict UTF-8, bounded length, stable offsets.

Each code point of the given caption is one code point of the stored caption, so spans keep their meaning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from schemas.errors import SampleRejectedError

# Details are stored in the rows of rejected samples, which the digest of a unit covers, so their texts must not change.
MAX_BYTES = 65_536
MAX_CHARS = 2_000

# C0 and C1 controls, DEL, line and paragraph separators: each becomes one blank, so offsets stay
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True)
class StoredCaption:
    """The caption as it is stored; `cut_from` is the length before a cut, None if nothing was cut."""

    text: str
    cut_from: int | None = None


def decode_caption(data: bytes) -> StoredCaption:
    """Decode the caption of a text member. Raises SampleRejectedError: CAP_LONG, CAP_UTF8, CAP_EMPTY."""
    if len(data) > MAX_BYTES:
        raise SampleRejectedError("CAP_LONG", f"{len(data)} bytes, at most {MAX_BYTES}")
    try:
        return _clean(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise SampleRejectedError("CAP_UTF8", f"byte {error.start}: {error.reason}") from error


def clean_caption(text: str) -> StoredCaption:
    """Clean the caption of a json member. Raises SampleRejectedError: CAP_LONG, CAP_UTF8, CAP_EMPTY."""
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise SampleRejectedError("CAP_UTF8", f"lone surrogate at {error.start}") from error
    if size > MAX_BYTES:
        raise SampleRejectedError("CAP_LONG", f"{size} bytes, at most {MAX_BYTES}")
    return _clean(text)


def _clean(given: str) -> StoredCaption:
    kept = given if len(given) <= MAX_CHARS else _cut(given)
    text = _CONTROL.sub(" ", kept)
    if not any(char.isalnum() for char in text):
        raise SampleRejectedError("CAP_EMPTY", f"no letter or digit in {len(text)} characters")
    return StoredCaption(text, len(given) if len(kept) < len(given) else None)


def _cut(text: str) -> str:
    """Return the first MAX_CHARS characters up to their last blank, so that no word is cut."""
    blank = text.rfind(" ", 0, MAX_CHARS + 1)
    return text[:blank] if blank > 0 else text[:MAX_CHARS]
