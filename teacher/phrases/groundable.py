"""Which phrases name something that a box can hold, and for the others the reason code (`schemas.codes`)."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator

from teacher.phrases import stop_heads
from teacher.phrases.lexicon import bundled
from teacher.phrases.words import NOUN_TAGS, PRONOUN_TAGS, Chunk, Words

_OF_WORDS = frozenset({"of", "showing", "depicting", "featuring"})
_TRAILING = stop_heads.CATALOGUE | {","}


class Groundability:
    """The rules with a job's own additions and exceptions to the bundled lists."""

    def __init__(self, stop: Collection[str] = (), keep: Collection[str] = ()) -> None:
        kept = frozenset(keep)
        self._stop = (stop_heads.STOP_HEADS | frozenset(stop)) - kept
        self._image = stop_heads.IMAGE - kept
        self._before_of = stop_heads.BEFORE_OF - kept
        self._image_before_of = stop_heads.IMAGE_BEFORE_OF - kept

    def code(self, words: Words, chunk: Chunk) -> str | None:
        """The reason to drop a chunk, or None for one to ask for."""
        form, tag = words.lower[chunk.head], words.tags[chunk.head]
        if tag in PRONOUN_TAGS or form in stop_heads.PRONOUNS:
            return "PH_PRONOUN"
        if not _is_word(form):
            return "PH_MEASURE" if any(map(str.isdigit, form)) or tag == "CD" else "PH_JUNK"
        names = _names(form)
        if chunk.head - chunk.start > 1 and words.lower[chunk.head - 1] == "-":
            names = names | {f"{words.lower[chunk.head - 2]}-{form}"}  # close-up, also where it was parted
        if names & stop_heads.MEASURES and (chunk.end - chunk.start == 1 or _counted(words, chunk)):
            return "PH_MEASURE"
        if names & self._image:
            return "PH_IMAGE_WORD"
        follows = words.lower[chunk.end] if chunk.end < len(words) else ""
        if follows in _OF_WORDS and (code := self._code_before_of(names, follows)):
            return code
        if (
            names & stop_heads.UNLESS_COMPOUND
            and chunk.head > chunk.start
            and words.tags[chunk.head - 1] == "NN"
        ):
            return None
        return "PH_STOP_HEAD" if names & self._stop else None

    def is_partitive(self, words: Words, chunk: Chunk) -> bool:
        """`a group` before `of`: a quantity of what follows."""
        form = words.lower[chunk.head]
        follows = words.lower[chunk.end : chunk.end + 1] == ["of"]
        return follows and bool({form, singular(form)} & self._before_of)

    def parts(self, words: Words, chunk: Chunk) -> Iterator[Chunk]:
        """The chunk, or the thing and the catalogue words that trail it: `a green bolt | free download`."""
        cut = chunk.end
        while cut > chunk.start and words.lower[cut - 1] in _TRAILING:
            cut -= 1
        rest = cut + (words.lower[cut : cut + 1] == [","])
        thing = Chunk(chunk.start, cut, cut - 1)
        trails = chunk.start < cut < chunk.end and (
            words.tags[cut - 1] in NOUN_TAGS or bundled().is_noun(words.lower[cut - 1])
        )
        if trails and self.code(words, thing) is None:
            yield thing
            yield Chunk(rest, chunk.end, chunk.head if chunk.head >= rest else chunk.end - 1)
        else:
            yield chunk

    def _code_before_of(self, names: frozenset[str], follows: str) -> str | None:
        if names & self._image_before_of:
            return "PH_IMAGE_WORD"
        return "PH_PARTITIVE" if follows == "of" and names & self._before_of else None


@functools.lru_cache(maxsize=1 << 16)
def singular(form: str) -> str:
    """The lemma of a noun, by the bundled rules."""
    return bundled().singular(form)


@functools.lru_cache(maxsize=1 << 16)
def _names(form: str) -> frozenset[str]:
    """What a head may be listed as."""
    return frozenset({form, singular(form)})


def root_of(words: Words, head: int) -> str:
    """The lemma of a head noun: the pipeline's own where it has one, the bundled rules' otherwise."""
    token = words.tokens[head]
    if token.lemma and token.pos_ == "NOUN":
        return token.lemma_.lower()
    form = words.lower[head]
    return singular(form) if words.tags[head] != "NN" or form.endswith("s") else form


def _is_word(form: str) -> bool:
    return form.isalpha() and len(form) > 1 or sum(map(str.isalpha, form)) > 1


def _counted(words: Words, chunk: Chunk) -> bool:
    before = range(chunk.start, chunk.head)
    return any(words.tags[i] == "CD" or words.lower[i][0].isdigit() for i in before)
