"""The manifest of a view or gold: its kind, digest and parts. A manifest that does not add up cannot be constructed."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, model_validator

from schemas.ledger import FORMAT_VERSION, DataFile
from schemas.records import Record

ViewKind = Literal["view", "gold"]
_PART = re.compile(r"data/[0-9]{5,}-[0-9a-f]{16}\.parquet")


class ViewManifest(Record):
    """The digest of a view, its parts in order, and its provenance."""

    format_version: str = FORMAT_VERSION
    kind: ViewKind
    digest: str = Field(description="over the rows' content in order, independent of the parts")
    rows: int = Field(ge=0)
    phrases: int = Field(ge=0)
    regions: int = Field(ge=0)
    parts: tuple[DataFile, ...]
    provenance: dict[str, Any] = Field(
        description="evidence and policy digests, score_kind, or the gold's source"
    )

    @model_validator(mode="after")
    def _check_sum(self) -> ViewManifest:
        for part in self.parts:
            if not _PART.fullmatch(part.path):
                raise ValueError(f"the part {part.path!r} does not have the form data/NUMBER-SHA256.parquet")
        if (total := sum(part.rows for part in self.parts)) != self.rows:
            raise ValueError(f"the manifest has {self.rows} rows, its parts have {total}")
        return self
