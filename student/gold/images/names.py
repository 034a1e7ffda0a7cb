"""The name that gold gives an image, as any tool may have written it, and the names that an image of a shard has.

A name may be a path of another machine (Windows, absolute), a URL, or lack its suffix. A *foreign* name says nothing
about the folder of images, so only its last parts count. Import and evaluation use these rules alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar
from urllib.parse import unquote

from student.gold.account import RecordError

IMAGE_SUFFIXES = {
    **{suffix: suffix for suffix in (".jpg", ".png", ".webp", ".gif", ".bmp", ".tif", ".avif")},
    **{".jpeg": ".jpg", ".jpe": ".jpg", ".jfif": ".jpg", ".tiff": ".tif"},
}
"""Suffixes of image files in lower case, with the usual form of each."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # a drive has one letter
_DRIVE = re.compile(r"[A-Za-z]:")
_SPLIT = re.compile(r"(?:(train)(?:ing)?|mini?(val)|(val)(?:id|idation)?|(test)(?:ing)?|(dev))[-_]?\d*")
_MAX_LISTED = 3

Place = TypeVar("Place")
Row = TypeVar("Row")


@dataclass(frozen=True)
class ImageName:
    """An image's name in gold.

    text:       as it was written
    path:       the same path with forward slashes, without scheme, query and percent-escapes of a URL
    is_foreign: an absolute path, a path with a drive, or a URL
    """

    text: str
    path: str
    is_foreign: bool

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """Folders and file, without a drive."""
        parts = [part for part in self.path.split("/") if part not in ("", ".")]
        if self.is_foreign and parts and _DRIVE.match(parts[0]):
            parts = [part for part in (parts[0][2:], *parts[1:]) if part]
        return tuple(parts)

    @property
    def base(self) -> str:
        """The last part."""
        return self.parts[-1] if self.parts else ""

    @property
    def stems(self) -> list[str]:
        """What `{stem}` may mean. Dots belong to the stem, except the one of an image's suffix."""
        stem, suffix = split_suffix(self.base)
        cut = self.base.rpartition(".")[0]
        return [stem] if suffix or not cut else [stem, cut]

    def check_inside(self) -> None:
        """Raise RecordError file_name_unsafe if the path leaves its folder."""
        if ".." in self.parts:
            raise RecordError("file_name_unsafe", repr(self.text))

    def tails(self) -> Iterator[str]:
        """Yield the path, then the path without its first folder, and so on."""
        return ("/".join(self.parts[begin:]) for begin in range(len(self.parts)))


def parse_name(text: str) -> ImageName:
    """Read a name. Raises RecordError file_name_unsafe for a name that no file has."""
    scheme = _SCHEME.match(text)
    path = text.replace("\\", "/")
    if scheme is not None:
        path = unquote(re.split("[?#]", path[scheme.end() :], maxsplit=1)[0])
        path = path.replace("\\", "/").lstrip("/")
    is_foreign = bool(scheme or _DRIVE.match(path) or path.startswith("/"))
    name = ImageName(text, path, is_foreign)
    if name.base in ("", "..") or "::" in path or not is_file_name(path):
        raise RecordError("file_name_unsafe", repr(text))
    return name


def is_file_name(path: str) -> bool:
    """Return whether a path has no control characters and can be written as UTF-8."""
    return not any(char < " " or char == "\x7f" or "\ud800" <= char <= "\udfff" for char in path)


def check_file_name(name: str) -> str:
    """Return a relative path with forward slashes.

    Raises RecordError file_name_unsafe for a path that would leave its folder.
    """
    parsed = parse_name(name)
    parsed.check_inside()
    if parsed.is_foreign or ":" in parsed.parts[0]:
        raise RecordError("file_name_unsafe", repr(name))
    return "/".join(parsed.parts)


def last_part(name: str) -> str:
    """Return the file's own name, of any name."""
    try:
        return parse_name(name).base
    except RecordError:
        return name


def split_suffix(base: str) -> tuple[str, str]:
    """Split off the suffix of an image in its usual form: `a.b.JPEG` is (`a.b`, `.jpg`), `a.b` is (`a.b`, ``)."""
    stem, dot, suffix = base.rpartition(".")
    usual = IMAGE_SUFFIXES.get(dot + suffix.lower(), "")
    return (stem, usual) if stem and usual else (base, "")


def fold(text: str) -> str:
    """Return the one form of all spellings of a name: case, accents in one or two characters, percent-escapes."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", unquote(text)).casefold())


def list_some(things: Iterable[object]) -> str:
    """Return a short list for a message."""
    listed = [str(thing) for thing in things]
    return ", ".join(listed[:_MAX_LISTED]) + (", ..." if len(listed) > _MAX_LISTED else "")


class NameClaims:
    """Which name found which image. An image that two names found by their last part alone belongs to neither."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self.problems: dict[str, str] = {}

    def claim(self, place: str, name: ImageName) -> None:
        """Note that a name found an image. Raises RecordError image_ambiguous if another name found it before."""
        first = self._names.setdefault(place, name.text)
        if first != name.text:
            self.problems.setdefault(place, f"{first!r} and {name.text!r} are both found as {place}")
            raise RecordError("image_ambiguous", f"{name.text}: {place} was found for {first} too")


class FileNames:
    """The files below a root, by the names that they may have elsewhere."""

    def __init__(self, paths: Iterable[str], root: str = "") -> None:
        """Index relative paths with forward slashes. root: the name of the folder that they are in."""
        self._root = root
        self._by_stem: dict[str, list[str]] = {}
        for path in paths:
            self._by_stem.setdefault(fold(split_suffix(path.rpartition("/")[2])[0]), []).append(path)

    def find(self, name: ImageName) -> list[str]:
        """Return the files that a name may mean; empty if there are none, and several if it means none alone.

        Suffixes are equal in any case and spelling (JPG, jpeg), or one of the two is missing. Files with the most
        folders of the name count, and of these the one with exactly its last part. A file of another split (`val` for a
        name in `train2017`) is another image, since data sets number the images of each split from 1.
        """
        stem, suffix = split_suffix(name.base)
        splits = _find_splits(name.parts[:-1])
        fitting = [
            path
            for path in self._by_stem.get(fold(stem), ())
            if (not suffix or split_suffix(path)[1] in ("", suffix)) and not self._is_of_another(path, splits)
        ]
        shared = {path: _count_equal_folders(path, name) for path in fitting}
        best = [path for path in fitting if shared[path] == max(shared.values())]
        exact = [path for path in best if path.rpartition("/")[2] == name.base]
        return exact or best

    def _is_of_another(self, path: str, splits: set[str]) -> bool:
        """Return whether a file is in the folder of another split than these."""
        own = _find_splits([self._root, *path.split("/")[:-1]])
        return bool(own and splits and not own & splits)


def _find_splits(folders: Iterable[str]) -> set[str]:
    """Return the splits that folders are named after: train, val, test, dev."""
    matches = (_SPLIT.fullmatch(folder.lower()) for folder in folders)
    return {next(filter(None, match.groups())) for match in matches if match}


def _count_equal_folders(path: str, name: ImageName) -> int:
    """Return how many folders before the last part are equal."""
    count = 0
    for own, other in zip(reversed(path.split("/")[:-1]), reversed(name.parts[:-1])):
        if fold(own) != fold(other):
            break
        count += 1
    return count


@dataclass(frozen=True)
class NamedSample(Generic[Place]):
    """A sample of a shard under its key, or the name that a key map gives it."""

    url: str
    key: str
    place: Place
    suffix: str = ""

    def __str__(self) -> str:
        """Return SHARD/KEY with the suffix."""
        return f"{self.url.rpartition('/')[2]}/{self.key}{self.suffix}"


@dataclass(frozen=True)
class SampleMatch(Generic[Place]):
    """The sample that a name of gold means.

    is_exact: its whole name agrees
    by_name:  only the last parts of a path of another machine, or of the key, agree
    """

    sample: NamedSample[Place]
    is_exact: bool
    by_name: bool


class SampleNames(Generic[Place]):
    """The samples of shards by the names under which gold may mean them: KEY, SHARD/KEY, or what a key map says."""

    def __init__(self) -> None:
        self._by_key: dict[str, list[NamedSample[Place]]] = {}
        self._by_last_part: dict[str, list[NamedSample[Place]]] = {}

    def add(self, url: str, key: str, place: Place, suffix: str = "") -> None:
        """Add a sample by the key that it has in its shard. suffix: of its image, if it is known."""
        sample = NamedSample(url, key, place, suffix)
        self._by_key.setdefault(key, []).append(sample)
        self._by_last_part.setdefault(key.rpartition("/")[2], []).append(sample)

    def add_as(self, url: str, file_name: str, place: Place) -> None:
        """Add a sample by the file name that a key map gives it. Raises RecordError file_name_unsafe."""
        name = _without_suffix(parse_name(file_name).parts)
        self._by_key.setdefault(name, []).append(NamedSample(url, name, place))

    def find(self, name: ImageName) -> SampleMatch[Place]:
        """Return the sample of a name.

        A name that no sample has is tried without its first folders, then by the last part of a key, then up to its
        first dot, where WebDataset readers cut a key.
        Raises RecordError file_name_unsafe and image_missing; image_ambiguous if several samples have the name.
        """
        name.check_inside()
        if samples := self._find_exact(name):
            return SampleMatch(_take_only(samples, name), is_exact=True, by_name=False)
        tails = [_without_suffix(tail.split("/")) for tail in name.tails()]
        by_tail = next((self._by_key[tail] for tail in tails if tail in self._by_key), None)
        last, cut = tails[-1], tails[-1].partition(".")[0]
        samples = by_tail or self._by_last_part.get(last) or self._by_last_part.get(cut) or []
        if not samples:
            raise RecordError("image_missing", name.text)
        return SampleMatch(
            _take_only(samples, name), is_exact=False, by_name=name.is_foreign or by_tail is None
        )

    def _find_exact(self, name: ImageName) -> list[NamedSample[Place]]:
        """Return the samples with the whole name: a key, behind nothing or the last folders of its shard."""
        for number, tail in enumerate(name.tails()):
            before = "/" + "/".join(name.parts[:number])
            some = self._by_key.get(_without_suffix(tail.split("/")), ())
            if found := [one for one in some if not number or one.url.endswith(before)]:
                return found
        return []


def _take_only(samples: Sequence[NamedSample[Place]], name: ImageName) -> NamedSample[Place]:
    """Return the only sample, or the only one with the name's suffix. Raises RecordError image_ambiguous."""
    suffix = split_suffix(name.base)[1]
    named = [sample for sample in samples if suffix and sample.suffix == suffix]
    found = samples if len(samples) == 1 else named
    if len(found) != 1:
        raise RecordError("image_ambiguous", f"{name.text}: {list_some(samples)}")
    return found[0]


def find_mapped(rows: Mapping[tuple[str, str], Row], url: str, key: str) -> Row | None:
    """Return the row of a key map for a sample. Its key may end at the first dot, as in WebDataset."""
    shard = url.rpartition("/")[2]
    folder, slash, base = key.rpartition("/")
    cut = folder + slash + base.partition(".")[0]
    return rows.get((shard, key)) or rows.get((shard, cut))


def _without_suffix(parts: Sequence[str]) -> str:
    """Return the path without an image's suffix."""
    return "/".join([*parts[:-1], split_suffix(parts[-1])[0]])
