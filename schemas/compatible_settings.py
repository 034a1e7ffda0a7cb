"""Settings that were added after the first release: an old file, record or digest that lacks them stays valid.

Such a setting declares its legacy value, which gives the results from before it existed. Normally that is its
default. Where a better default was chosen, the two differ: a user's file that omits the setting gets the default, a
stored record that omits it gets the legacy value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic import SerializerFunctionWrapHandler, model_serializer

from schemas.digests import digest_of
from schemas.settings import Settings


@dataclass(frozen=True)
class LegacyValue:
    """Mark a later setting, as `Annotated[..., LegacyValue()]`: its legacy value is `legacy`, or else its default."""

    legacy: Any = ...


class CompatibleSettings(Settings):
    """A configuration section with later settings."""

    @classmethod
    def legacy_values(cls) -> dict[str, Any]:
        """Return the legacy value of each later setting, by name."""
        return dict(cls._later())

    @classmethod
    def _later(cls) -> Iterator[tuple[str, Any]]:
        for name, info in cls.model_fields.items():
            for mark in info.metadata:
                if isinstance(mark, LegacyValue):
                    yield name, info.default if mark.legacy is ... else mark.legacy

    @classmethod
    def from_record(cls, values: Mapping[str, Any]) -> Self:
        """Load what `identity` returned, of this release or an older one. Raises ValidationError."""
        return cls.model_validate({**cls.legacy_values(), **values})

    def identity(self) -> dict[str, Any]:
        """Return the JSON values that the digest covers and records store: no later setting at its legacy value."""
        legacy = self.legacy_values()
        values = self.model_dump(mode="json")
        return {name: value for name, value in values.items() if not self._is_at(name, legacy)}

    def continue_from(self, record: Mapping[str, Any]) -> tuple[Self, dict[str, Any]]:
        """Return the settings with what their file omits as a stored record has it, and the values that were taken.

        Only settings whose default is not their legacy value: for all others to omit them has always meant one thing.
        Raises ValidationError where a stored value does not go with the file's.
        """
        fields = type(self).model_fields
        stored = {
            name: record.get(name, legacy)
            for name, legacy in self._later()
            if fields[name].default != legacy and name not in self.model_fields_set
        }
        taken = {name: value for name, value in stored.items() if value != getattr(self, name)}
        if not taken:
            return self, {}
        return type(self).model_validate({**self.model_dump(exclude_unset=True), **taken}), taken

    def digest(self) -> str:
        """Return `sha256:<hex>` of `identity` in canonical JSON."""
        return digest_of(self.identity())

    def _is_at(self, name: str, values: Mapping[str, Any]) -> bool:
        return name in values and bool(getattr(self, name) == values[name])

    @model_serializer(mode="wrap")
    def _dump(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Omit a later setting only where loading the dump gives it back."""
        fields = type(self).model_fields
        legacy = {name: value for name, value in self._later() if fields[name].default == value}
        return {name: value for name, value in handler(self).items() if not self._is_at(name, legacy)}
