"""Shard lists: brace ranges, alternatives and globs become a list of absolute URLs.

Promise: the order is the order written, globs sorted, and no shard stands in the list twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from engine.filesystems import absolute_url, check_shard_url, open_filesystem, reaching
from engine.settings import StorageSettings
from schemas.errors import ConfigError, NotFound

MAX_URLS = 10_000_000
_GROUP = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def expand_urls(patterns: Sequence[str], storage: StorageSettings | None = None) -> list[str]:
    """Every shard that the patterns name, as absolute URLs.

    raises: NotFound for a glob without a match, ConfigError for a malformed brace or too many names
    """
    urls: dict[str, None] = {}
    for pattern in patterns:
        for url in expand_braces(pattern):
            found = _glob(url, storage) if re.search(r"[*?\[]", url) else [absolute_url(url)]
            urls.update((check_shard_url(name), None) for name in found)
            if len(urls) > MAX_URLS:
                raise ConfigError(f"input.urls names more than {MAX_URLS} shards; split the job")
    return list(urls)


def expand_braces(pattern: str) -> Iterator[str]:
    """`{000..002}` counts with its zeros, `{a,b}` alternates, groups multiply from the left."""
    group = _GROUP.search(pattern)
    if group is None:
        if "{" in pattern or "}" in pattern:
            raise ConfigError(f"input.urls: {pattern!r} has a brace without its partner")
        yield pattern
        return
    head, tail = pattern[: group.start()], pattern[group.end() :]
    for middle in _alternatives(group.group(1), pattern):
        for end in expand_braces(tail):
            yield head + middle + end


def _alternatives(body: str, pattern: str) -> Iterator[str]:
    span = _RANGE.fullmatch(body)
    if span is None and "," not in body:
        raise ConfigError(f"input.urls: {pattern!r}: expected {{000..999}} or {{a,b}}, found {{{body}}}")
    if span is None:
        yield from body.split(",")
        return
    first, last = int(span.group(1)), int(span.group(2))
    if last < first or last - first >= MAX_URLS:
        raise ConfigError(f"input.urls: {pattern!r}: the range {body} is empty or names more than {MAX_URLS}")
    width = (
        len(span.group(1)) if span.group(1).startswith("0") or len(span.group(1)) == len(span.group(2)) else 0
    )
    for number in range(first, last + 1):
        yield str(number).zfill(width)


def _glob(pattern: str, storage: StorageSettings | None) -> list[str]:
    pattern = absolute_url(pattern)
    filesystem, path = open_filesystem(pattern, storage)
    protocol = pattern.split("://", 1)[0] + "://" if "://" in pattern else ""
    with reaching(pattern):
        names = sorted(name for name in filesystem.glob(path) if filesystem.isfile(name))
    if not names:
        raise NotFound(f"input.urls: no file matches {pattern}")
    return [absolute_url(protocol + name.lstrip("/") if protocol else name) for name in names]
