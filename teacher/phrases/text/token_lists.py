"""A document as plain lists, one entry per token. Chunkers and rules read them many times per caption.

Tags are Penn's for every pipeline. White space is tagged `_SP`, a line end `_NL`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from spacy.tokens import Doc, Token

NOUN_TAGS = frozenset({"NN", "NNS", "NNP", "NNPS"})
PRONOUN_TAGS = frozenset({"PRP", "WP", "EX"})
ADJECTIVE_TAGS = frozenset({"JJ", "JJR", "JJS", "VBN"})
PENN_OF_POS = {
    "NOUN": "NN", "PROPN": "NNP", "PRON": "PRP", "ADJ": "JJ", "ADV": "RB", "ADP": "IN", "DET": "DT", "NUM": "CD",
    "PUNCT": ":", "CCONJ": "CC", "SCONJ": "IN", "VERB": "VB", "AUX": "VB", "PART": "RP", "SYM": "SYM", "INTJ": "UH",
    "SPACE": "_SP", "X": "FW", "": "",
}  # fmt: skip


class Chunk(NamedTuple):
    """Tokens [start, end) of a document. `head` is the index of the head noun."""

    start: int
    end: int
    head: int


@dataclass(slots=True)
class Words:
    """Tokens of one document. `relations` and `heads` have no meaning if the document was not parsed."""

    doc: Doc
    tokens: list[Token]
    lower: list[str]
    tags: list[str]
    relations: list[str]
    heads: list[int]
    only_letters: bool
    """True if no token has a mark, digit or white space, as in most captions. Lets rules skip work."""

    def __len__(self) -> int:
        return len(self.lower)

    def is_hyphen(self, i: int) -> bool:
        """Return whether token `i` is a hyphen without white space around it: `t-shirt` is three tokens."""
        return self.lower[i] == "-" and not (self.tokens[i - 1].whitespace_ or self.tokens[i].whitespace_)

    def is_surrounded_by_space(self, i: int) -> bool:
        """Return whether token `i` has white space, or the text's border, on both sides."""
        tokens = self.tokens
        begins = i == 0 or bool(tokens[i - 1].whitespace_) or tokens[i - 1].is_space
        return begins and (i + 1 == len(self) or bool(tokens[i].whitespace_) or tokens[i + 1].is_space)


def list_words(doc: Doc) -> Words:
    """Return the lists of a tagged document."""
    tokens = list(doc)  # making a token object costs more than reading it
    string = doc.vocab.strings.__getitem__
    lower = [token.lower_ for token in tokens]
    tag_ids = [token.tag for token in tokens]
    if doc.lang_ == "en" and any(tag_ids):
        tags = list(map(string, tag_ids))
    else:
        tags = [PENN_OF_POS.get(token.pos_, "") for token in tokens]
    only_letters = "".join(lower).isalpha()
    if not only_letters:
        _tag_white_space(lower, tags)
    relations, heads = [token.dep_ for token in tokens], [token.head.i for token in tokens]
    return Words(doc, tokens, lower, tags, relations, heads, only_letters)


def _tag_white_space(lower: list[str], tags: list[str]) -> None:
    for i, form in enumerate(lower):
        if form.isspace():
            tags[i] = "_SP" if len(f"{form}.".splitlines()) == 1 else "_NL"
