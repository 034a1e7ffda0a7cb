"""Large foreign JSON, one item at a time: an object whose fields are lists, or one object per line.

Memory is bounded by the largest item, not by the file. An item that cannot be read is reported, never skipped. NaN and
infinity are accepted as floats, because common writers emit them. The record that holds one is refused where its number
is used.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from enum import Enum, auto
from pathlib import Path
from typing import BinaryIO

from pydantic import JsonValue

from engine.reading.strict_json import load_object
from schemas.errors import ConfigError, NotFoundError, SampleRejectedError

MAX_ITEM_CHARS = 32 * 2**20  # the largest items are masks of crowds
MAX_LINE_BYTES = 1_000_000
_CHUNK = 2**20
_BLANK = " \t\r\n"
_OF_NUMBERS = "0123456789.eE+-"


class Empty(Enum):
    """Stands in for the items of an empty list."""

    EMPTY = auto()


EMPTY = Empty.EMPTY


def iter_lines(path: Path) -> Iterator[tuple[int, dict[str, JsonValue] | SampleRejectedError]]:
    """Yield line number and object of each line that is not blank.

    A line that is not a strict JSON object gives a rejection.
    """
    with _open_file(path) as file:
        for number, line in enumerate(_iter_bounded_lines(file), start=1):
            if isinstance(line, SampleRejectedError):
                yield number, line
            elif line.strip():
                try:
                    yield number, load_object(line)
                except SampleRejectedError as rejected:
                    yield number, rejected


def _iter_bounded_lines(file: BinaryIO) -> Iterator[bytes | SampleRejectedError]:
    first = True
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := file.readline(_CHUNK)) and not rest.endswith(b"\n"):
                pass
            yield SampleRejectedError("JSON_BAD", f"a line of more than {MAX_LINE_BYTES} bytes")
        else:
            yield line.removeprefix(codecs.BOM_UTF8) if first else line
        first = False


def iter_fields(path: Path) -> Iterator[tuple[str, JsonValue | Empty]]:
    """Yield the content of the top-level object, item by item.

    A list yields `("images", {...})` for each of its items, any other value `("info", {...})`.
    An empty list yields `(name, EMPTY)`: a file without annotations differs from one whose images have none.
    Raises NotFoundError; ConfigError with the position in characters if the file is no such object.
    """
    with _open_file(path) as file:
        yield from _Cursor(file, path).iter_fields()


def _open_file(path: Path) -> BinaryIO:
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file; correct the path")
    return path.open("rb")


class _Cursor:
    """A window of text that moves over the file. Text before it is dropped."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._json = json.JSONDecoder(object_pairs_hook=_build_object)
        self._text, self._at, self._before, self._is_at_end = "", 0, 0, False

    def iter_fields(self) -> Iterator[tuple[str, JsonValue | Empty]]:
        self._expect("{", "a JSON object with lists of images and annotations")
        if self._peek() == "}":
            self._at += 1
        else:
            yield from self._iter_members()
        if self._peek():
            raise self._error("more text after the end of the object")

    def _iter_members(self) -> Iterator[tuple[str, JsonValue | Empty]]:
        seen: set[str] = set()
        while True:
            name = self._read_value()
            if not isinstance(name, str) or name in seen:
                raise self._error(f"field name {name!r} is not text, or occurs twice")
            seen.add(name)
            self._expect(":", "':'")
            if self._peek() == "[":
                self._at += 1
                yield from ((name, item) for item in self._iter_list())
            else:
                yield name, self._read_value()
            if self._expect_one_of(",}") == "}":
                return

    def _iter_list(self) -> Iterator[JsonValue | Empty]:
        if self._peek() == "]":
            self._at += 1
            yield EMPTY
            return
        while True:
            yield self._read_value()
            if self._expect_one_of(",]") == "]":
                return

    def _read_value(self) -> JsonValue:
        """Return the value that begins here. The window grows until it contains the whole value."""
        self._peek()
        self._drop_read_text()
        wanted = _CHUNK
        while True:
            try:
                value: JsonValue
                value, end = self._json.raw_decode(self._text, self._at)
            except RecursionError as error:
                raise self._error("nested too deep") from error
            except ValueError as error:
                if isinstance(error, _DuplicateFieldError) or self._is_at_end:
                    raise self._error(f"no valid JSON: {error}") from error
            else:
                # a number may go on in the next chunk: "0." is read as 0
                if self._is_at_end or (end < len(self._text) and self._text[end] not in _OF_NUMBERS):
                    self._at = end
                    return value
            if len(self._text) - self._at > MAX_ITEM_CHARS:
                raise self._error(f"no valid JSON, or an item of more than {MAX_ITEM_CHARS} characters")
            self._fill(wanted)
            wanted *= 2  # or a large item would be parsed anew for every chunk

    def _expect_one_of(self, marks: str) -> str:
        mark = self._peek()
        if not mark or mark not in marks:
            raise self._error(f"expected one of {' '.join(marks)}, found {mark or 'the end of the file'!r}")
        self._at += 1
        return mark

    def _expect(self, mark: str, what: str) -> None:
        found = self._peek()
        if found != mark:
            raise self._error(f"expected {what}, found {found or 'the end of the file'!r}")
        self._at += 1

    def _peek(self) -> str:
        """Return the next character that is not blank, or "" at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _BLANK:
                self._at += 1
            if self._at < len(self._text) or self._is_at_end:
                return self._text[self._at : self._at + 1]
            self._drop_read_text()
            self._fill(_CHUNK)

    def _drop_read_text(self) -> None:
        if self._at >= _CHUNK:
            self._before += self._at
            self._text, self._at = self._text[self._at :], 0

    def _fill(self, size: int) -> None:
        data = self._file.read(size)
        try:
            self._text += self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise self._error(f"not UTF-8: {error.reason}") from error
        self._is_at_end = not data

    def _error(self, reason: str) -> ConfigError:
        return ConfigError(f"{self._path}, character {self._before + self._at}: {reason}")


class _DuplicateFieldError(ValueError):
    """An object names a field twice, so its value is ambiguous."""


def _build_object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _DuplicateFieldError("an object names a field twice")
    return value
