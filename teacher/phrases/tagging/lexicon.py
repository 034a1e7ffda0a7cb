"""The bundled lexicon: which parts of speech a word can be, how tags follow each other, singular forms of nouns."""

from __future__ import annotations

import functools
import lzma
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from importlib import resources

from schemas.digests import sha256_hex

FILE = "lexicon.tsv.xz"
_NOUN_ENDINGS = (
    ("ses", "s"),
    ("ves", "f"),
    ("xes", "x"),
    ("zes", "z"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("ies", "y"),
    ("men", "man"),
    ("s", ""),
)
_VERB_ENDINGS = (("ing", "VBG"), ("ed", "VBN"), ("es", "VBZ"), ("s", "VBZ"))
_PUNCTUATION = {
    "-": "HYPH",
    "'s": "POS",
    "’s": "POS",
    "'": "POS",
    "’": "POS",
    "&": "CC",
    "|": ":",
    ",": ",",
    ".": ".",
}

# Captions tell what is going on; the treebanks are news, reviews and letters. Added to the scores of these tags.
_PRESENT = {"VBZ": 1.4, "VBG": 1.4, "VBP": 1.4}
# What a form could be by its ending although the treebanks never show it so: "drinks" as a verb.
_UNSEEN_FORM = -1.0

Scores = dict[str, float]


@dataclass(frozen=True)
class Lexicon:
    """Tables read from the bundled file; words lower-case, scores natural logarithms."""

    words: dict[str, Scores]
    suffixes: dict[str, Scores]
    pairs: dict[str, Scores]
    plurals: dict[str, str]
    unseen_pair: float
    extra_nouns: frozenset[str] = field(default_factory=frozenset)

    def tags(self, word: str) -> Scores:
        """Tags that a word can have, each with log P(tag | word) - log P(tag); never empty."""
        lower = word.lower()
        if lower in self.extra_nouns:
            return {"NN": 0.0}
        if lower != self.singular(lower) in self.extra_nouns:
            return {"NNS": 0.0}
        known = self.words.get(lower)
        if known is not None:
            return known
        return _shaped(word) or self._inflected(lower) or self._by_suffix(word)

    def singular(self, noun: str) -> str:
        """The lemma of a noun: `women` -> `woman`, `boxes` -> `box`; a word of unknown form stays as it is."""
        lower = noun.lower()
        irregular = self.plurals.get(lower)
        if irregular is not None:
            return irregular
        if self.is_noun(lower) and not self._is_plural(lower):
            return lower
        candidates = [lower.removesuffix(end) + new for end, new in _NOUN_ENDINGS if lower.endswith(end)]
        return next((word for word in candidates if word and self.is_noun(word)), _strip_s(lower))

    def is_noun(self, word: str) -> bool:
        """Whether a lower-case singular form can be a noun."""
        return word in self.extra_nouns or "NN" in self.words.get(word, ())

    def _is_plural(self, word: str) -> bool:
        tags = self.words.get(word, {})
        return tags.get("NNS", -math.inf) > tags.get("NN", -math.inf)

    def with_unseen_forms(self, words: Iterable[str]) -> dict[str, Scores]:
        """Scores of known words with the forms added that their endings allow."""
        return {
            word: {
                **{tag: score + _UNSEEN_FORM for tag, score in self._inflected(word).items()},
                **self.words[word],
            }
            for word in words
        }

    def _inflected(self, lower: str) -> Scores:
        found: Scores = {}
        if lower.endswith("s") and self.is_noun(self.singular(lower)):
            found["NNS"] = 0.0
        for ending, tag in _VERB_ENDINGS:
            stem = lower.removesuffix(ending)
            stems = (stem, stem + "e", stem[:-1] if stem[-1:] == stem[-2:-1] else stem)
            if stem != lower and any("VB" in self.words.get(base, ()) for base in stems):
                found[tag] = _PRESENT.get(tag, 0.0)
        return found

    def _by_suffix(self, word: str) -> Scores:
        lower = word.lower()
        endings = (lower[-length:] for length in range(min(4, len(lower)), 0, -1))
        guess = next((self.suffixes[ending] for ending in endings if ending in self.suffixes), {"NN": 0.0})
        return {**guess, "NNP": 0.0} if word[:1].isupper() else guess


@functools.cache
def bundled() -> Lexicon:
    """The lexicon of the package, read once per process."""
    sections: dict[str, list[list[str]]] = {}
    for line in lzma.decompress(_bytes()).decode().splitlines():
        fields = line.split("\t")
        if len(fields) == 1:
            current = sections.setdefault(line, [])
        else:
            current.append(fields)
    totals = _totals(sections["words"])
    words = {word: _scores(_parsed(tags), totals) for word, tags in sections["words"]}
    # WordNet tells what a word can be, not how often: its share of each tag is taken to be the tag's own.
    words |= {word: dict.fromkeys(tags.split(), 0.0) for word, tags in sections["wordnet"]}
    pairs, unseen = _transitions(sections["pairs"])
    lexicon = Lexicon(
        words=words,
        suffixes={ending: _scores(_parsed(tags), totals) for ending, tags in sections["suffixes"]},
        pairs=pairs,
        plurals=dict(sections["plurals"]),
        unseen_pair=unseen,
    )
    return replace(lexicon, words=words | lexicon.with_unseen_forms(word for word, _ in sections["words"]))


@functools.cache
def digest() -> str:
    """sha256 of the bundled file, hexadecimal."""
    return sha256_hex(_bytes())


def _bytes() -> bytes:
    return (resources.files("teacher.phrases") / "data" / FILE).read_bytes()


def _parsed(text: str) -> dict[str, int]:
    return {tag: int(n) for tag, _, n in (item.rpartition(":") for item in text.split())}


def _totals(rows: Iterable[list[str]]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for _, tags in rows:
        for tag, n in _parsed(tags).items():
            totals[tag] = totals.get(tag, 0) + n
    return totals


def _scores(counts: dict[str, int], totals: dict[str, int]) -> Scores:
    """log P(tag | word) - log P(tag): what a tagger adds to the transition (Bayes, P(word) left out)."""
    size, everything = sum(counts.values()), sum(totals.values())
    return {
        tag: math.log(n / size) - math.log(totals.get(tag, 1) / everything) + _PRESENT.get(tag, 0.0)
        for tag, n in counts.items()
    }


def _transitions(rows: Iterable[list[str]]) -> tuple[dict[str, Scores], float]:
    counts: dict[str, dict[str, int]] = {}
    for first, second, n in rows:
        counts.setdefault(first, {})[second] = int(n)
    smoothed = {
        first: {second: math.log((n + 0.1) / (sum(after.values()) + 5)) for second, n in after.items()}
        for first, after in counts.items()
    }
    return smoothed, math.log(1e-5)


def _shaped(word: str) -> Scores:
    """Tags of a word that its characters alone decide: numbers and punctuation."""
    if word in _PUNCTUATION:
        return {_PUNCTUATION[word]: 0.0}
    if not any(character.isalnum() for character in word):
        return {":": 0.0}
    if any(character.isdigit() for character in word):
        return {"JJ": 0.0, "NN": -1.0} if word[-1].isalpha() else {"CD": 0.0}
    return {}


def _strip_s(lower: str) -> str:
    return lower[:-1] if len(lower) > 3 and lower.endswith("s") and not lower.endswith("ss") else lower
