"""Members of a tar become samples, by the WebDataset convention.

The key is the name up to the FIRST dot of its last part, folders included; the rest, in lower case, is the suffix;
neighbours of equal key are one sample. Promise: every member ends in exactly one sample. Names without a key or
suffix (`README`, `.DS_Store`, `._x.jpg`), which other readers skip in silence, become samples of their own, without
breaking the neighbourhood around them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from engine.reading.formats.tar import Member


@dataclass(slots=True)
class TarSample:
    """The members of one sample by suffix; `duplicates` names suffixes that came twice."""

    key: str
    members: dict[str, Member] = field(default_factory=dict)
    duplicates: list[str] = field(default_factory=list)
    is_stray: bool = False


def split_name(name: str) -> tuple[str, str] | None:
    """`a/0001.seg.PNG` is key `a/0001`, suffix `seg.png`; None for a name without a key or without a dot."""
    folder, slash, base = name.rpartition("/")
    stem, dot, suffix = base.partition(".")
    return (folder + slash + stem, suffix.lower()) if stem and dot else None


def group_members(members: Iterable[Member]) -> list[TarSample]:
    """Samples in the order of their first members."""
    samples: list[TarSample] = []
    current: TarSample | None = None
    for member in members:
        named = split_name(member.name)
        if named is None:
            samples.append(TarSample(member.name, {"": member}, is_stray=True))
            continue
        key, suffix = named
        if current is None or current.key != key:
            current = TarSample(key)
            samples.append(current)
        if suffix in current.members:
            current.duplicates.append(suffix)
        else:
            current.members[suffix] = member
    return samples
