"""Base class of every configuration: frozen, unknown keys are refused, every field has a description.

A configuration class is defined next to what it configures. This module has only the base classes and the evidence
settings, which both the engine and the teachers use.

Settings can be added after the first release. Old files, records and digests without them stay valid: such a setting
declares its legacy value, which gives the results from before the setting existed. Normally this is its default. If a
better default was chosen, the two differ: a user's file that omits the setting gets the default, and a stored record
that omits it gets the legacy value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import EllipsisType
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from schemas.digests import digest_of


class Settings(BaseModel):
    """Base of a configuration section."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    def digest(self) -> str:
        """Return `sha256:<hex>` of the values in canonical JSON."""
        return digest_of(self.model_dump(mode="json"))


@dataclass(frozen=True)
class LegacyValue:
    """Mark a setting that was added later, as `Annotated[..., LegacyValue()]`.

    legacy: the legacy value; `...` means the default of the setting
    """

    legacy: object | EllipsisType = ...


class CompatibleSettings(Settings):
    """A configuration section with settings that were added later."""

    @classmethod
    def legacy_values(cls) -> dict[str, object]:
        """Return the legacy value of each setting that was added later, by name."""
        return dict(cls._iterate_legacy())

    @classmethod
    def _iterate_legacy(cls) -> Iterator[tuple[str, object]]:
        for name, info in cls.model_fields.items():
            for mark in info.metadata:
                if isinstance(mark, LegacyValue):
                    yield name, info.default if mark.legacy is ... else mark.legacy

    @classmethod
    def from_record(cls, values: Mapping[str, object]) -> Self:
        """Load what `identity` of this or an older release returned. Raises ValidationError."""
        return cls.model_validate({**cls.legacy_values(), **values})

    def identity(self) -> dict[str, object]:
        """Return the JSON values that the digest covers and records store, without settings at their legacy value."""
        legacy = self.legacy_values()
        values: dict[str, object] = self.model_dump(mode="json")
        return {name: value for name, value in values.items() if not self._is_at(name, legacy)}

    def continue_from(self, record: Mapping[str, object]) -> tuple[Self, dict[str, object]]:
        """Return the settings with omitted values taken from a stored record, and the values that were taken.

        Only settings whose default differs from their legacy value are taken: omitting any other setting has always
        had one meaning. Raises ValidationError if a stored value contradicts the user's file.
        """
        fields = type(self).model_fields
        stored = {
            name: record.get(name, legacy)
            for name, legacy in self._iterate_legacy()
            if fields[name].default != legacy and name not in self.model_fields_set
        }
        taken = {name: value for name, value in stored.items() if value != getattr(self, name)}
        if not taken:
            return self, {}
        return type(self).model_validate({**self.model_dump(exclude_unset=True), **taken}), taken

    def digest(self) -> str:
        """Return `sha256:<hex>` of `identity` in canonical JSON."""
        return digest_of(self.identity())

    def _is_at(self, name: str, values: Mapping[str, object]) -> bool:
        return name in values and bool(getattr(self, name) == values[name])

    @model_serializer(mode="wrap")
    def _dump(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Omit a setting at its legacy value only if loading the dump restores it."""
        fields = type(self).model_fields
        legacy = {name: value for name, value in self._iterate_legacy() if fields[name].default == value}
        return {name: value for name, value in handler(self).items() if not self._is_at(name, legacy)}


class EvidenceSettings(Settings):
    """Limits on what is kept as evidence; a policy can only be stricter."""

    min_score: float = Field(
        0.05,
        ge=0,
        le=1,
        description="regions below this raw score are not kept; left out, the floor of the teacher's kind",
    )
    nms_iou: float = Field(0.7, ge=0, le=1, description="one loose suppression per phrase, above this IoU")
    max_regions_per_phrase: int = Field(
        50, ge=1, description="cap per phrase; a cut phrase is marked truncated"
    )
