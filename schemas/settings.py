"""Base of every configuration: frozen, unknown keys refused, every field described.

A configuration class stands beside what it configures; only this base and the evidence settings, which both the
engine and the teachers read, live here.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from schemas.digests import digest_of


class Settings(BaseModel):
    """A configuration section."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    def digest(self) -> str:
        """`sha256:<hex>` of the values in canonical JSON."""
        return digest_of(self.model_dump(mode="json"))


class EvidenceSettings(Settings):
    """What is kept as evidence; a policy can only be stricter."""

    min_score: float = Field(0.05, ge=0, le=1, description="regions below this raw score are not kept")
    nms_iou: float = Field(0.7, ge=0, le=1, description="one loose suppression per phrase, above this IoU")
    max_regions_per_phrase: int = Field(
        50, ge=1, description="cap per phrase; a cut phrase is marked truncated"
    )
