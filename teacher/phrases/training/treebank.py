"""Read CoNLL-U files, plain or .xz, strictly: ten columns, ids in order, one root, heads inside the sentence.

A sentence is read whole, or `TreebankError` names file, line and problem.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_USED_SUBTYPES = frozenset(
    {"nmod:poss", "compound:prt", "acl:relcl", "aux:pass", "nsubj:pass", "det:predet", "obl:unmarked"}
)


class TreebankError(ValueError):
    """A file is not strict CoNLL-U."""


@dataclass(eq=False)
class Word:
    """One syntactic word. `head` is the word it depends on, None for the root of its sentence."""

    form: str
    lemma: str
    tag: str
    relation: str
    space_after: bool = True
    head: Word | None = field(default=None, repr=False)


Sentence = list[Word]


def read_sentences(path: Path) -> Iterator[Sentence]:
    """Yield the sentences of a file in order. Only subtypes of relations that noun phrases need are preserved."""
    with (lzma.open if path.suffix == ".xz" else open)(path, "rt", encoding="utf-8") as lines:
        rows: list[list[str]] = []
        for number, line in enumerate(lines, 1):
            text = line.rstrip("\r\n")
            if text and not text.startswith("#"):
                rows.append(_split_columns(text, f"{path}:{number}"))
            elif not text and rows:
                yield _make_sentence(rows, f"{path}:{number}")
                rows = []
        if rows:
            raise TreebankError(
                f"{path}: no empty line after the last sentence, so the file was cut short; copy it again"
            )


def join_words(words: Iterable[Word]) -> str:
    """Return the sentence as written."""
    return "".join(word.form + " " * word.space_after for word in words).rstrip(" ")


def children(sentence: Sequence[Word], head: Word) -> list[Word]:
    """Return the words that depend on `head`, in order."""
    return [word for word in sentence if word.head is head]


def subtree(sentence: Sequence[Word], top: Word) -> list[Word]:
    """Return `top` and all words below it, in order."""
    inside = {id(top)}
    has_grown = True
    while has_grown:
        more = {id(word) for word in sentence if word.head is not None and id(word.head) in inside} - inside
        inside |= more
        has_grown = bool(more)
    return [word for word in sentence if id(word) in inside]


def _split_columns(line: str, place: str) -> list[str]:
    columns = line.split("\t")
    if len(columns) != 10 or not all(columns):
        raise TreebankError(f"{place}: {len(columns)} columns; expected 10, none empty")
    return columns


def _make_sentence(rows: list[list[str]], place: str) -> Sentence:
    words: Sentence = []
    heads: list[int] = []
    surface_end, surface_space = 0, True
    for row in rows:
        if "-" in row[0]:
            surface_end, surface_space = int(row[0].partition("-")[2]), "SpaceAfter=No" not in row[9]
            continue
        if "." in row[0]:
            continue  # an elided word is in no tree
        if row[0] != str(len(words) + 1):
            raise TreebankError(f"{place}: word {row[0]!r} where {len(words) + 1} was expected")
        word = _make_word(row)
        if len(words) + 1 <= surface_end:
            word.space_after = surface_space if len(words) + 1 == surface_end else False
        words.append(word)
        heads.append(_parse_head(row[6], place))
    return _link_heads(words, heads, place)


def _make_word(row: list[str]) -> Word:
    relation = row[7] if row[7] in _USED_SUBTYPES else row[7].partition(":")[0]
    return Word(row[1].replace(" ", "_"), row[2], row[4], relation, "SpaceAfter=No" not in row[9])


def _parse_head(text: str, place: str) -> int:
    if not text.isdecimal():
        raise TreebankError(f"{place}: head {text!r} is not a number")
    return int(text)


def _link_heads(words: Sentence, heads: list[int], place: str) -> Sentence:
    if heads.count(0) != 1 or max(heads) > len(words):
        raise TreebankError(
            f"{place}: heads {heads} of {len(words)} words; expected one root and no head beyond the last word"
        )
    for word, head in zip(words, heads):
        word.head = words[head - 1] if head else None
    if len(subtree(words, words[heads.index(0)])) != len(words):
        raise TreebankError(f"{place}: heads {heads} contain a cycle")
    return words
