"""The manifest of a view or gold: what it is, and its parts. One that does not add up cannot exist."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, model_validator

from schemas.ledger import FORMAT_VERSION, DataFile
from schemas.records import Record

ViewKind = Literal["view", "gold"]
_PART = re.compile(r"data/[0-9]{5,}-[0-9a-f]{16}\.parquet")


class ViewManifest(Record):
    """What a view is: its digest, its parts in order, and where it comes from."""

    format_version: str = FORMAT_VERSION
    kind: ViewKind
    digest: str = Field(description="over the rows' content in order, whatever the parts")
    rows: int = Field(ge=0)
    phrases: int = Field(ge=0)
    regions: int = Field(ge=0)
    parts: tuple[DataFile, ...]
    provenance: dict[str, Any] = Field(
        description="evidence and policy digests, score_kind, or the gold's source"
    )

    @model_validator(mode="after")
    def _adds_up(self) -> ViewManifest:
        for part in self.parts:
            if not _PART.fullmatch(part.path):
                raise ValueError(f"the part {part.path!r} is not of the form data/NUMBER-SHA256.parquet")
        if (total := sum(part.rows for part in self.parts)) != self.rows:
            raise ValueError(f"{self.rows} rows, and {total} in its parts")
        return self
