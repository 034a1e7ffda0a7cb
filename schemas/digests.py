"""Digests of bytes and of records: equal content gives an equal digest on any machine.

A record is digested through canonical JSON (sorted keys, no blanks, UTF-8, shortest float form). So a digest does
not depend on the field order or on how the record was produced.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path


def sha256_hex(data: bytes) -> str:
    """Return the hexadecimal sha256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the hexadecimal sha256 of a file, in constant memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: object) -> bytes:
    """Serialize a JSON value so that equal values give equal bytes; NaN and infinity raise ValueError."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode("utf-8", "surrogatepass")


def digest_of(value: object) -> str:
    """Return `sha256:<hex>` of a JSON value."""
    return "sha256:" + sha256_hex(canonical_json(value))


def digest_of_many(digests: Iterable[str]) -> str:
    """Return `sha256:<hex>` over digests in the given order."""
    total = hashlib.sha256()
    for item in digests:
        total.update(item.encode("ascii"))
        total.update(b"\n")
    return "sha256:" + total.hexdigest()


def shorten_digest(digest: str, length: int = 16) -> str:
    """Return the first `length` hexadecimal digits of a digest, with or without its `sha256:` prefix."""
    return digest.removeprefix("sha256:")[:length]
