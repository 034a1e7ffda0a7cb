"""Names of images in files for other tools, which join them to a folder."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

from schemas.ledger import bare_url

if TYPE_CHECKING:
    from pipelines.labels.fates import LabelRow


def name_image(row: LabelRow, suffixes: Mapping[str, str]) -> str:
    """Return the name of a row's image: the path of its file below its folder, else SHARD/KEY.

    suffixes: what names each shard, see `shortest_suffixes`
    """
    folder, pixels = bare_url(row["shard"]), row["pixels"]
    if pixels is not None and pixels["offset"] is None and pixels["url"].startswith(f"{folder}/"):
        return quote_unsafe(pixels["url"].removeprefix(f"{folder}/"))
    return f"{suffixes[folder]}/{quote_unsafe(row['key'])}"


def quote_unsafe(key: str) -> str:
    """Return a key as a path that cannot lead out of the folder it is joined to."""
    leads_out = key.startswith("/") or "\\" in key or any(part in ("", ".", "..") for part in key.split("/"))
    if not leads_out and not re.search(r"[\x00-\x1f\x7f:]", key):
        return key
    return quote(key, safe="").replace(".", "%2E")


def shortest_suffixes(urls: set[str]) -> dict[str, str]:
    """Return for each URL the fewest last path parts that no other URL ends in, or the whole URL."""
    ends = Counter(
        "/".join(parts[-n:]) for parts in (url.split("/") for url in urls) for n in range(1, len(parts) + 1)
    )
    return {url: next((end for end in _suffixes_of(url) if ends[end] == 1), url) for url in sorted(urls)}


def _suffixes_of(url: str) -> Iterator[str]:
    parts = url.split("/")
    return ("/".join(parts[-n:]) for n in range(1, len(parts) + 1))
