"""A sample before its image is decoded, or the reason why the reader rejects it.

The fields that img2dataset writes (`url`, `sha256`, `license`, `original_width`, `original_height`) become the
sample's source fields; the columns named in `input.keep` go to `meta`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from engine.reading.captions import StoredCaption
from engine.redaction import strip_url_secrets
from schemas.digests import canonical_json
from schemas.errors import SampleRejectedError
from schemas.labeler import Spans
from schemas.records import Pixels

# Details are stored in the rows of rejected samples, which the digest of a unit covers, so their texts must not change.
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_INT32 = 2**31 - 1
_MAX_TEXT = 8_192
CUT_FROM = "caption_cut_from"


@dataclass(frozen=True)
class SampleSource:
    """The origin of a sample, as recorded in its shard."""

    url: str | None = None
    sha256: str | None = None
    license: str | None = None
    original_width: int | None = None
    original_height: int | None = None


@dataclass(frozen=True)
class RawSample:
    """One sample of a shard. If `rejected` is set, the rest may be missing. `spans` are phrases of the input."""

    index: int
    key: str
    pixels: Pixels | None = None
    caption: str = ""
    source: SampleSource = field(default_factory=SampleSource)
    meta: Mapping[str, JsonValue] = field(default_factory=dict)
    rejected: SampleRejectedError | None = None
    spans: Spans = ()


def parse_source(fields: Mapping[str, JsonValue]) -> SampleSource:
    """Read the source fields of a json member or a row; a value of a wrong type counts as absent.

    The signature of a signed URL is removed, because evidence is kept and shared for longer than such a URL should be.
    """
    digest, url = _text(fields.get("sha256")), _text(fields.get("url", fields.get("URL")))
    return SampleSource(
        url=None if url is None else strip_url_secrets(url),
        sha256=digest if digest and _SHA256.fullmatch(digest) else None,
        license=_text(fields.get("license", fields.get("LICENSE"))),
        original_width=_side(fields.get("original_width")),
        original_height=_side(fields.get("original_height")),
    )


def collect_meta(
    fields: Mapping[str, JsonValue], keep: Sequence[str], caption: StoredCaption
) -> dict[str, JsonValue]:
    """Return the kept fields that the sample has, and the caption's length if it was cut.

    raises: SampleRejectedError JSON_BAD if a kept value cannot be written as UTF-8
    """
    meta = {name: fields[name] for name in keep if name in fields}
    if caption.cut_from is not None:
        meta[CUT_FROM] = caption.cut_from
    try:
        canonical_json(meta).decode("utf-8")
    except ValueError as error:
        raise SampleRejectedError("JSON_BAD", f"a field named in input.keep: {error}") from error
    return meta


def _text(value: JsonValue) -> str | None:
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        return None
    return None if any("\ud800" <= char <= "\udfff" for char in value) else value


def _side(value: JsonValue) -> int | None:
    # tables with missing values have widths as floats
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= _MAX_INT32:
        return None
    return int(value)
