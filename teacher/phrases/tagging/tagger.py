"""A part-of-speech tagger over the bundled lexicon: the most likely tag sequence by tag pairs (Viterbi).

A sentence's tags depend on its words alone, so batches and single captions agree.
Source: hidden Markov tagging with suffix guesses, Brants, "TnT", ANLP 2000. Tags are Penn's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from spacy.language import Language
from spacy.tokens import Doc

from teacher.phrases.tagging.lexicon import Lexicon, load_lexicon

_NOUNS = {"NN", "NNS", "NNP", "NNPS"}
_POS = {
    "JJ": "ADJ", "JJR": "ADJ", "JJS": "ADJ", "RB": "ADV", "RBR": "ADV", "RBS": "ADV", "DT": "DET", "PDT": "DET",
    "IN": "ADP", "TO": "PART", "POS": "PART", "CC": "CCONJ", "CD": "NUM", "MD": "AUX", "UH": "INTJ", "SYM": "SYM",
    "NN": "NOUN", "NNS": "NOUN", "NNP": "PROPN", "NNPS": "PROPN", "PRP": "PRON", "PRP$": "PRON", "WP": "PRON",
    "WP$": "PRON", "WDT": "PRON", "EX": "PRON", "WRB": "ADV", "RP": "ADP", "FW": "X", "_SP": "SPACE",
}  # fmt: skip


def find_best_tags(words: Sequence[str], lexicon: Lexicon) -> list[str]:
    """Return the most likely Penn tag of each word. Of equally likely tags, the first in sort order is taken."""
    if not words:
        return []
    best: dict[str, tuple[float, str | None]] = {"^": (0.0, None)}
    columns = []
    for word in words:
        best = {
            tag: _find_best_path(best, tag, emission, lexicon)
            for tag, emission in sorted(lexicon.score_tags(word).items())
        }
        columns.append(best)
    last = max(best, key=lambda tag: best[tag][0] + _score_pair(lexicon, tag, "$"))
    tags = [last]
    for column in reversed(columns):
        previous = column[tags[-1]][1]
        assert previous is not None, "every column has a predecessor"
        tags.append(previous)
    return tags[-2::-1]


def _find_best_path(
    before: dict[str, tuple[float, str | None]], tag: str, emission: float, lexicon: Lexicon
) -> tuple[float, str]:
    paths = [
        (score + _score_pair(lexicon, previous, tag) + emission, previous)
        for previous, (score, _) in before.items()
    ]
    return max(paths, key=lambda path: path[0])


def _score_pair(lexicon: Lexicon, first: str, second: str) -> float:
    return lexicon.pairs.get(first, {}).get(second, lexicon.unseen_pair)


class LexiconTagger:
    """Set `tag_`, `pos_` and, for nouns, `lemma_` of every token. A spaCy component."""

    def __init__(self, extra_nouns: Sequence[str] = ()) -> None:
        self.lexicon = replace(load_lexicon(), extra_nouns=frozenset(extra_nouns))

    def __call__(self, doc: Doc) -> Doc:
        tokens = [token for token in doc if not token.is_space]
        for token in doc:
            # A phrase may contain blanks, but no line end.
            lines = len(f"{token.text}.".splitlines())
            token.tag_, token.pos_ = ("_SP" if lines == 1 else "_NL"), "SPACE"
        for token, tag in zip(tokens, find_best_tags([token.text for token in tokens], self.lexicon)):
            token.tag_ = tag
            token.pos_ = _POS.get(tag, "VERB" if tag.startswith("VB") else "PUNCT")
            token.lemma_ = self.lexicon.singularize(token.text) if tag in _NOUNS else token.lower_
        return doc


@Language.factory("groundswell_tagger", default_config={"extra_nouns": []})
def make_tagger(nlp: Language, name: str, extra_nouns: list[str]) -> LexiconTagger:
    """Make the component for spaCy."""
    return LexiconTagger(extra_nouns)
