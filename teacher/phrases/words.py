"""A document as plain lists, one entry a token: what chunkers and rules look at, many times a caption.

Promise: tags are Penn's whatever the pipeline; white space is tagged `_SP`, a line's end `_NL`.
"""

from __future__ import annotations

from dataclasses import dataclass

from spacy.tokens import Doc, Token

NOUN_TAGS = frozenset({"NN", "NNS", "NNP", "NNPS"})
PRONOUN_TAGS = frozenset({"PRP", "WP", "EX"})
ADJECTIVE_TAGS = frozenset({"JJ", "JJR", "JJS", "VBN"})
PENN_OF_POS = {
    "NOUN": "NN", "PROPN": "NNP", "PRON": "PRP", "ADJ": "JJ", "ADV": "RB", "ADP": "IN", "DET": "DT", "NUM": "CD",
    "PUNCT": ":", "CCONJ": "CC", "SCONJ": "IN", "VERB": "VB", "AUX": "VB", "PART": "RP", "SYM": "SYM", "INTJ": "UH",
    "SPACE": "_SP", "X": "FW", "": "",
}  # fmt: skip


@dataclass(frozen=True)
class Chunk:
    """Tokens [start, end) of a document; `head` is the index of the head noun."""

    start: int
    end: int
    head: int


@dataclass(slots=True)
class Words:
    """Tokens of one document. `relations` and `heads` mean nothing in a document that was not parsed."""

    doc: Doc
    tokens: list[Token]
    lower: list[str]
    tags: list[str]
    relations: list[str]
    heads: list[int]

    def __len__(self) -> int:
        return len(self.lower)

    def is_hyphen(self, i: int) -> bool:
        """A hyphen without white space on either side: `t-shirt` is one word of three tokens."""
        return self.lower[i] == "-" and not (self.tokens[i - 1].whitespace_ or self.tokens[i].whitespace_)

    def stands_alone(self, i: int) -> bool:
        """White space, or the text's border, on both sides of token `i`."""
        tokens = self.tokens
        begins = i == 0 or bool(tokens[i - 1].whitespace_) or tokens[i - 1].is_space
        return begins and (i + 1 == len(self) or bool(tokens[i].whitespace_) or tokens[i + 1].is_space)


def words_of(doc: Doc) -> Words:
    """The lists of a tagged document."""
    penn = doc.lang_ == "en" and doc.has_annotation("TAG")
    tokens = list(doc)  # making a token costs more than looking at it
    tags = [t.tag_ for t in tokens] if penn else [PENN_OF_POS.get(t.pos_, "") for t in tokens]
    lower = [t.lower_ for t in tokens]
    for i, form in enumerate(lower):
        if form.isspace():
            tags[i] = "_SP" if len(f"{tokens[i].text}.".splitlines()) == 1 else "_NL"
    return Words(doc, tokens, lower, tags, [t.dep_ for t in tokens], [t.head.i for t in tokens])
