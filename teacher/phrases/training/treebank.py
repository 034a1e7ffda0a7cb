"""Reads CoNLL-U files, plain or .xz, strictly: ten columns, ids in order, one root, heads inside the sentence.

Promise: a sentence is read whole or `TreebankError` names file, line and what is wrong with it.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_KEPT_SUBTYPES = frozenset(
    {"nmod:poss", "compound:prt", "acl:relcl", "aux:pass", "nsubj:pass", "det:predet", "obl:unmarked"}
)


class TreebankError(ValueError):
    """A file that is not CoNLL-U as we read it."""


@dataclass(eq=False)
class Word:
    """One syntactic word; `head` is the word it depends on, None for the root of its sentence."""

    form: str
    lemma: str
    tag: str
    relation: str
    space_after: bool = True
    head: Word | None = field(default=None, repr=False)


Sentence = list[Word]


def read_sentences(path: Path) -> Iterator[Sentence]:
    """Sentences of a file in order. Relations keep only the subtypes that noun phrases need."""
    with (lzma.open if path.suffix == ".xz" else open)(path, "rt", encoding="utf-8") as lines:
        rows: list[list[str]] = []
        for number, line in enumerate(lines, 1):
            text = line.rstrip("\r\n")
            if text and not text.startswith("#"):
                rows.append(_columns(text, f"{path}:{number}"))
            elif not text and rows:
                yield _sentence(rows, f"{path}:{number}")
                rows = []
        if rows:
            raise TreebankError(f"{path}: the last sentence has no empty line after it: the file is cut")


def text_of(words: Iterable[Word]) -> str:
    """The sentence as written."""
    return "".join(word.form + " " * word.space_after for word in words).rstrip(" ")


def children(sentence: Sequence[Word], head: Word) -> list[Word]:
    """Words that depend on `head`, in order."""
    return [word for word in sentence if word.head is head]


def subtree(sentence: Sequence[Word], top: Word) -> list[Word]:
    """`top` and everything below it, in order."""
    inside = {id(top)}
    grown = True
    while grown:
        more = {id(word) for word in sentence if word.head is not None and id(word.head) in inside} - inside
        inside |= more
        grown = bool(more)
    return [word for word in sentence if id(word) in inside]


def _columns(line: str, place: str) -> list[str]:
    columns = line.split("\t")
    if len(columns) != 10 or not all(columns):
        raise TreebankError(f"{place}: {len(columns)} columns; expected 10, none empty")
    return columns


def _sentence(rows: list[list[str]], place: str) -> Sentence:
    words: Sentence = []
    heads: list[int] = []
    surface_end, surface_space = 0, True
    for row in rows:
        if "-" in row[0]:
            surface_end, surface_space = int(row[0].partition("-")[2]), "SpaceAfter=No" not in row[9]
            continue
        if "." in row[0]:
            continue  # an elided word: it stands in no tree
        if row[0] != str(len(words) + 1):
            raise TreebankError(f"{place}: word {row[0]!r} where {len(words) + 1} was expected")
        word = _word(row)
        if len(words) + 1 <= surface_end:
            word.space_after = surface_space if len(words) + 1 == surface_end else False
        words.append(word)
        heads.append(_head(row[6], place))
    return _linked(words, heads, place)


def _word(row: list[str]) -> Word:
    relation = row[7] if row[7] in _KEPT_SUBTYPES else row[7].partition(":")[0]
    return Word(row[1].replace(" ", "_"), row[2], row[4], relation, "SpaceAfter=No" not in row[9])


def _head(text: str, place: str) -> int:
    if not text.isdecimal():
        raise TreebankError(f"{place}: head {text!r} is not a number")
    return int(text)


def _linked(words: Sentence, heads: list[int], place: str) -> Sentence:
    if heads.count(0) != 1 or max(heads) > len(words):
        raise TreebankError(
            f"{place}: heads {heads} of {len(words)} words; expected one root and no head beyond"
        )
    for word, head in zip(words, heads):
        word.head = words[head - 1] if head else None
    if len(subtree(words, words[heads.index(0)])) != len(words):
        raise TreebankError(f"{place}: heads {heads} hold a circle")
    return words
