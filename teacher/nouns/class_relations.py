"""Relations that a class list states about its own names: LVIS's synonyms, COCO's supercategories, a hierarchy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from schemas.digests import digest_of


@dataclass(frozen=True)
class ClassRelations:
    """What else is true of a box of a name, by the name in lower case.

    Two synonyms name each other. A chain (`poodle` -> `dog` -> `animal`) need not be written out.
    """

    broader: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def from_pairs(cls, pairs: Iterable[tuple[str, str]]) -> ClassRelations:
        """Return the relations of (name, other name that is true of the same box). A name and itself are left out."""
        found: dict[str, set[str]] = {}
        for name, other in pairs:
            narrow, broad = name.strip().casefold(), other.strip().casefold()
            if narrow and broad and narrow != broad:
                found.setdefault(narrow, set()).add(broad)
        return cls({name: tuple(sorted(found[name])) for name in sorted(found)})

    def find_broader(self, names: Iterable[str]) -> frozenset[str]:
        """Return the names and everything above them."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += self.broader.get(name, ())
        return frozenset(found)

    def digest(self) -> str:
        """Return `sha256:<hex>` of the relations."""
        return digest_of({name: list(others) for name, others in self.broader.items()})
