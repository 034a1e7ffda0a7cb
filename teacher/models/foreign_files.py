"""Recognize what is in the place of weights: a page of a download that failed, a pointer, an archive."""

from __future__ import annotations

import re
from pathlib import Path

_HEAD_BYTES = 1024
_PAGE = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<body", b"<error", b"<!--")
_ARCHIVES = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf": "7z",
}
_TITLE = re.compile(rb"<title>\s*(.{1,120}?)\s*</title>", re.IGNORECASE | re.DOTALL)
_MAX_SHOWN = 80
_AGAIN = "download the file again"


def describe_foreign_file(path: Path) -> str | None:
    """Return what a file is and what to do if it is surely no file of weights, else None."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        return f"is empty; {_AGAIN}"
    if head.startswith(b"version https://git-lfs"):
        return "is a git-lfs pointer, not the file itself; run `git lfs pull` in its repository, or download the file"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:16].lower().startswith(_PAGE):
        title = _TITLE.search(head)
        shown = _show(title[1] if title else text)
        return f"is a web page ({shown}), as a server sends it in place of a file; {_AGAIN}"
    if text.startswith((b'{"', b"{\n", b"{ ", b"[")) and _is_text(head):
        return f"is JSON text ({_show(text)}), as a server sends it in place of a file; {_AGAIN}"
    archive = next((name for magic, name in _ARCHIVES.items() if head.startswith(magic)), None)
    return None if archive is None else f"is compressed ({archive}); unpack it and name the file inside"


def _is_text(head: bytes) -> bool:
    return not any(byte < 9 or 13 < byte < 32 for byte in head)


def _show(text: bytes) -> str:
    """Return the beginning of a text on one line."""
    line = " ".join(text.decode("utf-8", "replace").split())
    return repr(line if len(line) <= _MAX_SHOWN else line[:_MAX_SHOWN] + "...")
