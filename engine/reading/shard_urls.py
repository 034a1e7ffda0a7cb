"""Expand shard lists (brace ranges, alternatives, globs, files of URLs) to absolute URLs.

The order is the written order, matches of globs are sorted, and no shard occurs twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from engine.settings import StorageSettings
from engine.storage.filesystems import absolute_url, check_shard_url, open_filesystem, translate_store_errors
from engine.storage.retry import with_retries
from schemas.errors import ConfigError, NotFoundError

MAX_URLS = 10_000_000
MAX_LIST_BYTES = 2**30
_GROUP = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_QUERY = re.compile(r"://.*\?[\w.~-]+=")  # as in a signed URL; any other `?` matches one character


def expand_urls(patterns: Sequence[str], storage: StorageSettings | None = None) -> list[str]:
    """Return every shard that the patterns name, as absolute URLs; `@FILE` means the patterns in a file, one per line.

    raises: NotFoundError for a glob without a match, ConfigError for a malformed brace or too many shards
    """
    urls: dict[str, None] = {}
    for url in expand_patterns(patterns, storage):
        found = _glob(url, storage) if has_wildcard(url) else [absolute_url(url)]
        urls.update((check_shard_url(name), None) for name in found)
        if len(urls) > MAX_URLS:
            raise ConfigError(f"input.urls names more than {MAX_URLS} shards; split the job")
    return list(urls)


def expand_patterns(patterns: Sequence[str], storage: StorageSettings | None = None) -> Iterator[str]:
    """Yield the patterns without lists and braces. They may still have wildcards. Raises as `expand_urls`."""
    for pattern in _expand_lists(patterns, storage):
        yield from expand_braces(pattern)


def has_wildcard(url: str) -> bool:
    """Return whether a pattern without braces must be matched with existing names."""
    return not _QUERY.search(url) and bool(re.search(r"[*?\[]", url))


def _expand_lists(patterns: Sequence[str], storage: StorageSettings | None) -> Iterator[str]:
    for pattern in patterns:
        if not pattern.startswith("@"):
            yield pattern
            continue
        for line in _read_list(absolute_url(pattern[1:]), storage):
            if line.startswith("@"):
                raise ConfigError(
                    f"input.urls: the list {pattern} contains another list, {line!r}; a list must contain shards only"
                )
            yield line


@with_retries
def _read_list(where: str, storage: StorageSettings | None) -> list[str]:
    """Read the lines of a shard list, without blank lines and `#` comments."""
    filesystem, path = open_filesystem(where, storage)
    try:
        with translate_store_errors(where):
            if (size := int(filesystem.size(path))) > MAX_LIST_BYTES:
                raise ConfigError(
                    f"input.urls: the list {where} has {size} bytes, at most {MAX_LIST_BYTES}; split it into several"
                )
            text = bytes(filesystem.cat_file(path)).decode("utf-8")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFoundError(
            f"input.urls: the list {where} is not a file; correct the name after '@'"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"input.urls: the list {where} is not UTF-8 text (byte {error.start}); save it as UTF-8, or name a shard "
            "without '@'"
        ) from None
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise ConfigError(f"input.urls: the list {where} names no shard; write one path or URL per line")
    return lines


def expand_braces(pattern: str) -> Iterator[str]:
    """Expand braces: `{000..002}` counts with leading zeros, `{a,b}` alternates, the leftmost group varies slowest."""
    group = _GROUP.search(pattern)
    if group is None:
        if "{" in pattern or "}" in pattern:
            raise ConfigError(
                f"input.urls: {pattern!r} has an unmatched brace; write {{000..999}} or {{a,b}}, or rename the shard"
            )
        yield pattern
        return
    head, tail = pattern[: group.start()], pattern[group.end() :]
    for middle in _alternatives(group.group(1), pattern):
        for end in expand_braces(tail):
            yield head + middle + end


def _alternatives(body: str, pattern: str) -> Iterator[str]:
    span = _RANGE.fullmatch(body)
    if span is None and "," not in body:
        raise ConfigError(
            f"input.urls: {pattern!r}: expected {{000..999}} or {{a,b}}, found {{{body}}}; correct the pattern"
        )
    if span is None:
        yield from body.split(",")
        return
    first, last = int(span.group(1)), int(span.group(2))
    if last < first or last - first >= MAX_URLS:
        raise ConfigError(
            f"input.urls: {pattern!r}: the range {body} is empty or names more than {MAX_URLS}; write the lower number "
            "first, or split the range"
        )
    width = (
        len(span.group(1)) if span.group(1).startswith("0") or len(span.group(1)) == len(span.group(2)) else 0
    )
    for number in range(first, last + 1):
        yield str(number).zfill(width)


@with_retries
def _glob(pattern: str, storage: StorageSettings | None) -> list[str]:
    pattern = absolute_url(pattern)
    filesystem, path = open_filesystem(pattern, storage)
    protocol = pattern.split("://", 1)[0] + "://" if "://" in pattern else ""
    with translate_store_errors(pattern):
        names = sorted(name for name in filesystem.glob(path) if filesystem.isfile(name))
    if not names:
        raise NotFoundError(
            f"input.urls: no file matches {pattern}; correct the pattern, or check that the folder can be read"
        )
    return [absolute_url(protocol + name.lstrip("/") if protocol else name) for name in names]
