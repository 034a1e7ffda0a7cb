"""Find file names, links, addresses, markup and hashtags: parts of a caption that are in no phrase.

Every rule looks at a bounded range or starts at a fixed position, so no caption makes it slow.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from teacher.phrases.text.token_lists import NOUN_TAGS, Chunk, Words

# Without one of these, and without a dot inside, no rule below matches.
_SIGN = re.compile(r"[<&#@_/0-9]|\.(?!\Z)", re.DOTALL)
_SIGNS_OF_A_WORD = frozenset("&#@_/.0123456789")
_WORD = re.compile(r"[^\s<>]+")
_LINK = re.compile(r"\W{0,3}(?:https?://|www\.)", re.IGNORECASE)
_FILE_OR_SITE = re.compile(
    r"\w\.(?:jpe?g|png|gif|webp|bmp|tiff?|svg|pdf|mp4|mov|avi|html?|php|com|org|net|co\.uk)(?=$|[\W_])",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"\w@\w[\w-]{0,62}\.\w")
_CAMERA_NAME = re.compile(
    r"\W{0,3}(?:img|dsc[nf]?|dscf|pict?|p\d{3}|screenshot|wp)[_-]?\d{3,}", re.IGNORECASE
)
_IDENTIFIER = re.compile(r"\w{1,60}_\w{1,60}")
_MARKUP = re.compile(r"</?[a-z][^<>]{0,200}>|&(?:[a-z]{2,8}|#\d{2,5});", re.IGNORECASE)
_HASHTAG = re.compile(r"#\w+")


def find_junk(words: Words) -> set[int]:
    """Return the indices of tokens that belong to junk."""
    if words.only_letters or not _may_contain_junk(words):
        return set()
    starts = [token.idx for token in words.tokens]
    junk: set[int] = set()
    for begin, end in _find_junk_spans(words.doc.text):
        first = bisect_right(starts, begin) - 1
        junk.update(range(first, bisect_left(starts, end)))
    return junk


def _may_contain_junk(words: Words) -> bool:
    text = "".join(words.lower)  # `doc.text` is built token by token on every access
    return _SIGN.search(text) is not None or (text.endswith(".") and bool(words.tokens[-1].whitespace_))


def group_neighbors(tokens: set[int]) -> Iterator[Chunk]:
    """Yield each run of neighboring tokens as one chunk."""
    ordered = sorted(tokens)
    starts = [token for token in ordered if token - 1 not in tokens]
    ends = [token + 1 for token in ordered if token + 1 not in tokens]
    for start, end in zip(starts, ends):
        yield Chunk(start, end, end - 1)


def remove_junk(words: Words, chunk: Chunk, junk: set[int]) -> Iterator[Chunk]:
    """Yield what remains of a chunk without junk: the part with the head, and other parts that end in a noun."""
    start = chunk.start
    for i in (*sorted(junk & set(range(chunk.start, chunk.end))), chunk.end):
        if start <= chunk.head < i:
            yield Chunk(start, i, chunk.head)
        elif start < i and words.tags[i - 1] in NOUN_TAGS:
            yield Chunk(start, i, i - 1)
        start = i + 1


def _find_junk_spans(text: str) -> Iterator[tuple[int, int]]:
    for word in _WORD.finditer(text):
        whole = word.group()
        plain = whole.isascii() and _SIGNS_OF_A_WORD.isdisjoint(whole)
        if not plain and _is_junk(whole):
            yield word.start(), word.start() + max(len(whole.rstrip(",;:!?)\"'")), 1)
    for rule in (_MARKUP, _HASHTAG):
        yield from (match.span() for match in rule.finditer(text))


def _is_junk(word: str) -> bool:
    start = word[:300]
    return bool(
        _LINK.match(start)
        or _FILE_OR_SITE.search(word)
        or _ADDRESS.search(word)
        or _CAMERA_NAME.match(start)
        or _IDENTIFIER.match(start)
    )
