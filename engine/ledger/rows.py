"""The digest of a unit's rows. Units with equal digests have equal evidence, however the files were written."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.digests import canonical_json, digest_of_many, sha256_hex
from schemas.rows import EvidenceRow, RejectionRow


def rows_digest(rows: Sequence[EvidenceRow], rejections: Sequence[RejectionRow]) -> str:
    """Return the digest of the content of evidence and rejection rows in index order."""
    merged = sorted([*rows, *rejections], key=lambda row: row["index"])
    return digest_of_many("sha256:" + sha256_hex(canonical_json(row)) for row in merged)
