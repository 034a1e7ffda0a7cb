"""Large JSON from strangers, an item at a time: one object whose fields are lists, or one object a line.

Promise: memory is bounded by the largest item, not by the file, and an item that cannot be read is told, never passed
over. NaN and infinity are let through as floats: other people's writers make them, and the record that holds one is
refused where its number is used.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from engine.reading.strict_json import load_object
from schemas.errors import ConfigError, NotFoundError, SampleRejectedError

MAX_ITEM_CHARS = 32 * 2**20  # a crowd's mask is the largest thing that annotations hold
MAX_LINE_BYTES = 1_000_000
EMPTY = object()
_CHUNK = 2**20
_BLANK = " \t\r\n"
_OF_NUMBERS = "0123456789.eE+-"


def lines_of(path: Path) -> Iterator[tuple[int, dict[str, Any] | SampleRejectedError]]:
    """Line number and object of each line that is not blank; a line that is no strict JSON object is a rejection."""
    with _opened(path) as file:
        for number, line in enumerate(_bounded_lines(file), start=1):
            if isinstance(line, SampleRejectedError):
                yield number, line
            elif line.strip():
                try:
                    yield number, load_object(line)
                except SampleRejectedError as rejected:
                    yield number, rejected


def _bounded_lines(file: BinaryIO) -> Iterator[bytes | SampleRejectedError]:
    first = True
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := file.readline(_CHUNK)) and not rest.endswith(b"\n"):
                pass
            yield SampleRejectedError("JSON_BAD", f"a line of more than {MAX_LINE_BYTES} bytes")
        else:
            yield line.removeprefix(codecs.BOM_UTF8) if first else line
        first = False


def fields_of(path: Path) -> Iterator[tuple[str, Any]]:
    """Each item of the top-level object: `("images", {...})` for each item of a list, `("info", {...})` otherwise.

    An empty list gives `(name, EMPTY)`: a file without annotations is not one whose images were found empty.
    raises: NotFoundError, and ConfigError for what is no such object, with the place in characters
    """
    with _opened(path) as file:
        yield from _Cursor(file, path).items()


def _opened(path: Path) -> BinaryIO:
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file")
    return path.open("rb")


class _Cursor:
    """A window of text that moves over the file; what lies behind is forgotten."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._json = json.JSONDecoder(object_pairs_hook=_unique)
        self._text, self._at, self._before, self._ended = "", 0, 0, False

    def items(self) -> Iterator[tuple[str, Any]]:
        self._expect("{", "a JSON object with lists of images and annotations")
        if self._peek() == "}":
            self._at += 1
        else:
            yield from self._members()
        if self._peek():
            raise self._wrong("more text after the end of the object")

    def _members(self) -> Iterator[tuple[str, Any]]:
        seen: set[str] = set()
        while True:
            name = self._value()
            if not isinstance(name, str) or name in seen:
                raise self._wrong(f"field name {name!r} is no text or stands there twice")
            seen.add(name)
            self._expect(":", "':'")
            if self._peek() == "[":
                self._at += 1
                yield from ((name, item) for item in self._list())
            else:
                yield name, self._value()
            if self._next_of(",}") == "}":
                return

    def _list(self) -> Iterator[Any]:
        if self._peek() == "]":
            self._at += 1
            yield EMPTY
            return
        while True:
            yield self._value()
            if self._next_of(",]") == "]":
                return

    def _value(self) -> Any:
        """The value that begins here; the window grows until it holds all of it."""
        self._peek()
        self._drop_what_is_behind()
        wanted = _CHUNK
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except RecursionError as error:
                raise self._wrong("nested too deep") from error
            except ValueError as error:
                if isinstance(error, _Doubled) or self._ended:
                    raise self._wrong(f"no valid JSON: {error}") from error
            else:
                # a number may go on in the next chunk: "0." is read as 0
                if self._ended or (end < len(self._text) and self._text[end] not in _OF_NUMBERS):
                    self._at = end
                    return value
            if len(self._text) - self._at > MAX_ITEM_CHARS:
                raise self._wrong(f"no valid JSON, or an item of more than {MAX_ITEM_CHARS} characters")
            self._fill(wanted)
            wanted *= 2  # or a large item would be parsed anew for every chunk

    def _next_of(self, marks: str) -> str:
        mark = self._peek()
        if not mark or mark not in marks:
            raise self._wrong(f"expected one of {' '.join(marks)}, found {mark or 'the end of the file'!r}")
        self._at += 1
        return mark

    def _expect(self, mark: str, what: str) -> None:
        found = self._peek()
        if found != mark:
            raise self._wrong(f"expected {what}, found {found or 'the end of the file'!r}")
        self._at += 1

    def _peek(self) -> str:
        """The next character that is not blank, or "" at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _BLANK:
                self._at += 1
            if self._at < len(self._text) or self._ended:
                return self._text[self._at : self._at + 1]
            self._drop_what_is_behind()
            self._fill(_CHUNK)

    def _drop_what_is_behind(self) -> None:
        if self._at >= _CHUNK:
            self._before += self._at
            self._text, self._at = self._text[self._at :], 0

    def _fill(self, size: int) -> None:
        data = self._file.read(size)
        try:
            self._text += self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise self._wrong(f"not UTF-8: {error.reason}") from error
        self._ended = not data

    def _wrong(self, reason: str) -> ConfigError:
        return ConfigError(f"{self._path}, character {self._before + self._at}: {reason}")


class _Doubled(ValueError):
    """An object names a field twice: which of the two is meant, nobody can say."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _Doubled("an object names a field twice")
    return value
