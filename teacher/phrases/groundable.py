"""Which phrases name something that a box can hold, and for the others the reason code (`schemas.codes`)."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator

from spacy.tokens import Doc, Token

from teacher.phrases import stop_heads
from teacher.phrases.chunkers import NOUN_TAGS, PRONOUN_TAGS, Chunk

# All of these look at a bounded stretch or from a fixed place, so that no caption makes them slow.
_WORD = re.compile(r"[^\s<>]+")
_LINK = re.compile(r"\W{0,3}(?:https?://|www\.)", re.IGNORECASE)
_FILE_OR_SITE = re.compile(
    r"\w\.(?:jpe?g|png|gif|webp|bmp|tiff?|svg|pdf|mp4|mov|avi|html?|php|com|org|net|co\.uk)(?=$|[\W_])",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"\w@\w[\w-]{0,62}\.\w")
_MARKUP = re.compile(r"</?[a-z][^<>]{0,200}>|&(?:[a-z]{2,8}|#\d{2,5});", re.IGNORECASE)
_HASHTAG = re.compile(r"#\w+")
_OF_WORDS = frozenset({"of", "showing", "depicting"})


class Groundability:
    """The rules with a job's own additions and exceptions to the bundled stop heads."""

    def __init__(self, stop: Collection[str] = (), keep: Collection[str] = ()) -> None:
        self._stop = (stop_heads.STOP_HEADS | frozenset(stop)) - frozenset(keep)
        self._before_of = stop_heads.BEFORE_OF - frozenset(keep)

    def code(self, doc: Doc, chunk: Chunk) -> str | None:
        """The reason to drop a chunk, or None for one to ask for."""
        head = doc[chunk.head]
        names = {head.lower_, head.lemma_.lower()}
        alone = chunk.end - chunk.start == 1
        if head.tag_ in PRONOUN_TAGS or head.pos_ == "PRON" or names & stop_heads.PRONOUNS:
            return "PH_PRONOUN"
        if not sum(character.isalpha() for character in head.text) > 1:
            return "PH_MEASURE" if head.like_num else "PH_JUNK"
        if names & stop_heads.MEASURES and (alone or _counted(doc, chunk)):
            return "PH_MEASURE"
        if names & self._stop or (names & self._before_of and _of_follows(doc, chunk)):
            return "PH_STOP_HEAD"
        return None

    def parts(self, doc: Doc, chunk: Chunk) -> Iterator[Chunk]:
        """The chunk, or the thing and the catalogue words that trail it: `a green bolt | free download`."""
        cut = chunk.end
        while cut > chunk.start and doc[cut - 1].lower_ in stop_heads.CATALOGUE:
            cut -= 1
        thing = Chunk(chunk.start, cut, cut - 1)
        if chunk.start < cut < chunk.end and doc[cut - 1].tag_ in NOUN_TAGS and self.code(doc, thing) is None:
            yield thing
            yield Chunk(cut, chunk.end, chunk.head)
        else:
            yield chunk


def junk_tokens(doc: Doc) -> set[int]:
    """Tokens that belong to a file name, a link, an address, markup or a hashtag; they take part in no phrase."""
    starts = [token.idx for token in doc]
    junk: set[int] = set()
    for begin, end in _junk_spans(doc.text):
        first = bisect_right(starts, begin) - 1
        junk.update(range(first, bisect_left(starts, end)))
    return junk


def _junk_spans(text: str) -> Iterator[tuple[int, int]]:
    for word in _WORD.finditer(text):
        whole = word.group()
        if _LINK.match(whole) or _FILE_OR_SITE.search(whole) or _ADDRESS.search(whole):
            yield word.start(), word.start() + max(len(whole.rstrip(",;:!?)\"'")), 1)
    for rule in (_MARKUP, _HASHTAG):
        yield from (match.span() for match in rule.finditer(text))


def _counted(doc: Doc, chunk: Chunk) -> bool:
    return any(_is_number(token) for token in doc[chunk.start : chunk.head])


def _is_number(token: Token) -> bool:
    return token.like_num or token.tag_ == "CD"


def _of_follows(doc: Doc, chunk: Chunk) -> bool:
    return chunk.end < len(doc) and doc[chunk.end].lower_ in _OF_WORDS
