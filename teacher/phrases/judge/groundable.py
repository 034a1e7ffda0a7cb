"""Which phrases name something that a box can be drawn around, and the reason code (`schemas.codes`) of the others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from teacher.phrases.judge import stop_heads
from teacher.phrases.tagging.lexicon import load_lexicon, singularize
from teacher.phrases.text.token_lists import NOUN_TAGS, PRONOUN_TAGS, Chunk, Words

_OF_WORDS = frozenset({"of", "showing", "depicting", "featuring"})
_TRAILING = stop_heads.CATALOG | {","}
_MAX_KNOWN = 1 << 16  # heads whose lists are cached


class Groundability:
    """The rules, with a job's own additions and exceptions to the bundled lists."""

    def __init__(self, stop: Collection[str] = (), keep: Collection[str] = ()) -> None:
        exceptions = frozenset(keep)
        self._stop = (stop_heads.STOP_HEADS | frozenset(stop)) - exceptions
        self._image = stop_heads.IMAGE - exceptions
        self._before_of = stop_heads.BEFORE_OF - exceptions
        self._image_before_of = stop_heads.IMAGE_BEFORE_OF - exceptions
        self._lists = {
            "measure": stop_heads.MEASURES,
            "image": self._image,
            "image before of": self._image_before_of,
            "before of": self._before_of,
            "unless compound": stop_heads.UNLESS_COMPOUND,
            "stop": self._stop,
        }
        self._known: dict[str, frozenset[str]] = {}

    def find_drop_code(self, words: Words, chunk: Chunk) -> str | None:
        """Return the reason code to drop a chunk, or None if the teacher should be asked for it."""
        form, tag = words.lower[chunk.head], words.tags[chunk.head]
        if tag in PRONOUN_TAGS or form in stop_heads.PRONOUNS:
            return "PH_PRONOUN"
        if not _is_word(form):
            return "PH_MEASURE" if any(map(str.isdigit, form)) or tag == "CD" else "PH_JUNK"
        lists = self._lists_with_head(form)
        if chunk.head - chunk.start > 1 and words.lower[chunk.head - 1] == "-":
            # close-up, also where a tokenizer split it
            lists = lists | self._lists_with({f"{words.lower[chunk.head - 2]}-{form}"})
        return self._code_by_lists(words, chunk, lists) if lists else None

    def _code_by_lists(self, words: Words, chunk: Chunk, lists: frozenset[str]) -> str | None:
        if "measure" in lists and (chunk.end - chunk.start == 1 or _has_number(words, chunk)):
            return "PH_MEASURE"
        if "image" in lists:
            return "PH_IMAGE_WORD"
        follows = words.lower[chunk.end] if chunk.end < len(words) else ""
        if follows in _OF_WORDS and (code := _code_before_of(lists, follows)):
            return code
        compound = chunk.head > chunk.start and words.tags[chunk.head - 1] == "NN"
        if "unless compound" in lists and compound:
            return None
        return "PH_STOP_HEAD" if "stop" in lists else None

    def _lists_with_head(self, form: str) -> frozenset[str]:
        """Return the names of the lists that contain a head as written or in the singular. Most heads are in none."""
        known = self._known.get(form)
        if known is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            known = self._known[form] = self._lists_with({form, singularize(form)})
        return known

    def _lists_with(self, forms: set[str]) -> frozenset[str]:
        return frozenset(name for name, words in self._lists.items() if not words.isdisjoint(forms))

    def is_partitive(self, words: Words, chunk: Chunk) -> bool:
        """Return whether the chunk is a quantity of what follows: `a group` before `of`."""
        form = words.lower[chunk.head]
        follows = words.lower[chunk.end : chunk.end + 1] == ["of"]
        return follows and bool({form, singularize(form)} & self._before_of)

    def split_catalog_words(self, words: Words, chunks: Iterable[Chunk]) -> list[Chunk]:
        """Return the chunks, with catalog words at an end as chunks of their own: `a green bolt | free download`."""
        parts: list[Chunk] = []
        for chunk in chunks:
            if words.lower[chunk.end - 1] in _TRAILING:
                parts.extend(self._split(words, chunk))
            else:
                parts.append(chunk)
        return parts

    def _split(self, words: Words, chunk: Chunk) -> Iterator[Chunk]:
        cut = chunk.end
        while cut > chunk.start and words.lower[cut - 1] in _TRAILING:
            cut -= 1
        rest = cut + (words.lower[cut : cut + 1] == [","])
        thing = Chunk(chunk.start, cut, cut - 1)
        trails = chunk.start < cut < chunk.end and (
            words.tags[cut - 1] in NOUN_TAGS or load_lexicon().is_noun(words.lower[cut - 1])
        )
        if trails and self.find_drop_code(words, thing) is None:
            yield thing
            yield Chunk(rest, chunk.end, chunk.head if chunk.head >= rest else chunk.end - 1)
        else:
            yield chunk


def find_root(words: Words, head: int) -> str:
    """Return the lemma of a head noun: the pipeline's own if there is one, else by the bundled rules."""
    token = words.tokens[head]
    if token.lemma and token.pos_ == "NOUN":
        return token.lemma_.lower()
    form = words.lower[head]
    return singularize(form) if words.tags[head] != "NN" or form.endswith("s") else form


def _is_word(form: str) -> bool:
    return form.isalpha() and len(form) > 1 or sum(map(str.isalpha, form)) > 1


def _code_before_of(lists: frozenset[str], follows: str) -> str | None:
    if "image before of" in lists:
        return "PH_IMAGE_WORD"
    return "PH_PARTITIVE" if follows == "of" and "before of" in lists else None


def _has_number(words: Words, chunk: Chunk) -> bool:
    before = range(chunk.start, chunk.head)
    return any(words.tags[i] == "CD" or words.lower[i][0].isdigit() for i in before)
