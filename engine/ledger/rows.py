"""The digest of a unit's rows: what makes two units' evidence equal, however its files were written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from schemas.digests import canonical_json, digest_of_many, sha256_hex


def rows_digest(rows: Sequence[Mapping[str, Any]], rejections: Sequence[Mapping[str, Any]]) -> str:
    """Over the content of evidence and rejection rows in index order, however the files were written."""
    merged = sorted([*rows, *rejections], key=lambda row: row["index"])
    return digest_of_many("sha256:" + sha256_hex(canonical_json(row)) for row in merged)
