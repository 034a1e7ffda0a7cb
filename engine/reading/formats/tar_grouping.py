"""Group the members of a tar to samples, by the WebDataset convention.

The key is the name up to the FIRST dot of its last part, folders included. The rest, in lower case, is the suffix.
Neighbors with equal keys are one sample, and every member belongs to exactly one sample. Names without a key or suffix
(`README`, `.DS_Store`, `._x.jpg`), which other readers skip silently, become samples of their own and do not separate
their neighbors.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from engine.reading.formats.tar import Member


@dataclass(slots=True)
class TarSample:
    """The members of one sample by suffix; `duplicates` are the suffixes that occurred again."""

    key: str
    members: dict[str, Member] = field(default_factory=dict)
    duplicates: list[str] = field(default_factory=list)
    is_stray: bool = False


def split_name(name: str) -> tuple[str, str] | None:
    """Split `a/0001.seg.PNG` into key `a/0001` and suffix `seg.png`; return None if there is no key or no dot."""
    folder, slash, base = name.rpartition("/")
    stem, dot, suffix = base.partition(".")
    return (folder + slash + stem, suffix.lower()) if stem and dot else None


def group_members(members: Iterable[Member]) -> list[TarSample]:
    """Return the samples in the order of their first members."""
    samples: list[TarSample] = []
    current: TarSample | None = None
    for member in members:
        parts = split_name(member.name)
        if parts is None:
            samples.append(TarSample(member.name, {"": member}, is_stray=True))
            continue
        key, suffix = parts
        if current is None or current.key != key:
            current = TarSample(key)
            samples.append(current)
        if suffix in current.members:
            current.duplicates.append(suffix)
        else:
            current.members[suffix] = member
    return samples
