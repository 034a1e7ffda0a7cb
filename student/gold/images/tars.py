"""The images of a tar shard. A sample needs no caption here, since the gold has its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.reading.formats.tar import Member, read_members
from engine.reading.shards import MAX_MEMBER_BYTES
from schemas.errors import ShardDamagedError
from student.gold.images.names import split_suffix


@dataclass(frozen=True, slots=True)
class TarImage:
    """A member with the suffix of an image.

    key:    the member's name without its suffix, folders included
    suffix: in its usual form, `.jpg` for `.JPEG`
    """

    key: str
    suffix: str
    member: Member

    def read(self, path: Path) -> bytes:
        """Return the bytes of the image. path: the shard's local copy."""
        with path.open("rb") as file:
            file.seek(self.member.offset)
            return file.read(self.member.size_bytes)


def iter_tar_images(path: Path, url: str) -> Iterator[TarImage]:
    """Yield the images of the local copy of a shard, in order. Raises ShardDamagedError."""
    try:
        members = read_members(path)
    except ShardDamagedError as damage:
        raise ShardDamagedError(damage.code, f"{url}: {damage.detail}") from damage
    for member in members:
        folder, slash, base = member.name.rpartition("/")
        stem, suffix = split_suffix(base)
        if suffix and member.size_bytes <= MAX_MEMBER_BYTES:
            yield TarImage(folder + slash + stem, suffix, member)
