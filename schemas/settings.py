"""Base class of every configuration: frozen, unknown keys are refused, every field has a description.

A configuration class is defined next to what it configures. This module has only the base class and the evidence
settings, which both the engine and the teachers use.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from schemas.digests import digest_of


class Settings(BaseModel):
    """Base of a configuration section."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    def digest(self) -> str:
        """Return `sha256:<hex>` of the values in canonical JSON."""
        return digest_of(self.model_dump(mode="json"))


class EvidenceSettings(Settings):
    """Limits on what is kept as evidence; a policy can only be stricter."""

    min_score: float = Field(0.05, ge=0, le=1, description="regions below this raw score are not kept")
    nms_iou: float = Field(0.7, ge=0, le=1, description="one loose suppression per phrase, above this IoU")
    max_regions_per_phrase: int = Field(
        50, ge=1, description="cap per phrase; a cut phrase is marked truncated"
    )
