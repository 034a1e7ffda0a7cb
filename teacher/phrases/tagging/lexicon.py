"""The bundled lexicon: parts of speech of words, scores of tag pairs, singular forms of nouns."""

from __future__ import annotations

import functools
import lzma
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from importlib import resources

from schemas.digests import sha256_hex
from teacher import phrases

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

# Captions are in the present tense. The treebanks are news, reviews and letters. Added to the scores of these tags.
_PRESENT = {"VBZ": 1.4, "VBG": 1.4, "VBP": 1.4}
# Added to the score of a tag that the ending allows and the treebanks never show: "drinks" as a verb.
_UNSEEN_FORM = -1.0

Scores = dict[str, float]


@dataclass(frozen=True)
class Lexicon:
    """Tables read from the bundled file. Words are lower-case, scores are natural logarithms."""

    words: dict[str, Scores]
    suffixes: dict[str, Scores]
    pairs: dict[str, Scores]
    plurals: dict[str, str]
    unseen_pair: float
    extra_nouns: frozenset[str] = field(default_factory=frozenset)

    def score_tags(self, word: str) -> Scores:
        """Return the tags that a word can have, each with log P(tag | word) - log P(tag). Never empty."""
        lower = word.lower()
        if lower in self.extra_nouns:
            return {"NN": 0.0}
        if lower != self.singularize(lower) in self.extra_nouns:
            return {"NNS": 0.0}
        known = self.words.get(lower)
        if known is not None:
            return known
        return _score_by_shape(word) or self._score_by_ending(lower) or self._score_by_suffix(word)

    def singularize(self, noun: str) -> str:
        """Return the lemma of a noun: `women` -> `woman`, `boxes` -> `box`. An unknown form stays as it is."""
        lower = noun.lower()
        irregular = self.plurals.get(lower)
        if irregular is not None:
            return irregular
        if self.is_noun(lower) and not self._is_plural(lower):
            return lower
        candidates = [lower.removesuffix(end) + new for end, new in _NOUN_ENDINGS if lower.endswith(end)]
        return next((word for word in candidates if word and self.is_noun(word)), _strip_s(lower))

    def is_noun(self, word: str) -> bool:
        """Return whether a lower-case singular form can be a noun."""
        return word in self.extra_nouns or "NN" in self.words.get(word, ())

    def _is_plural(self, word: str) -> bool:
        tags = self.words.get(word, {})
        return tags.get("NNS", -math.inf) > tags.get("NN", -math.inf)

    def add_unseen_forms(self, words: Iterable[str]) -> dict[str, Scores]:
        """Return the scores of known words, with the tags added that their endings allow."""
        return {
            word: {
                **{tag: score + _UNSEEN_FORM for tag, score in self._score_by_ending(word).items()},
                **self.words[word],
            }
            for word in words
        }

    def _score_by_ending(self, lower: str) -> Scores:
        found: Scores = {}
        if lower.endswith("s") and self.is_noun(self.singularize(lower)):
            found["NNS"] = 0.0
        for ending, tag in _VERB_ENDINGS:
            stem = lower.removesuffix(ending)
            stems = (stem, stem + "e", stem[:-1] if stem[-1:] == stem[-2:-1] else stem)
            if stem != lower and any("VB" in self.words.get(base, ()) for base in stems):
                found[tag] = _PRESENT.get(tag, 0.0)
        return found

    def _score_by_suffix(self, word: str) -> Scores:
        lower = word.lower()
        endings = (lower[-length:] for length in range(min(4, len(lower)), 0, -1))
        guess = next((self.suffixes[ending] for ending in endings if ending in self.suffixes), {"NN": 0.0})
        return {**guess, "NNP": 0.0} if word[:1].isupper() else guess


@functools.cache
def load_lexicon() -> Lexicon:
    """Return the lexicon of the package. It is read once per process."""
    sections: dict[str, list[list[str]]] = {}
    for line in lzma.decompress(_read_file()).decode().splitlines():
        fields = line.split("\t")
        if len(fields) == 1:
            current = sections.setdefault(line, [])
        else:
            current.append(fields)
    totals = _sum_by_tag(sections["words"])
    words = {word: _score_counts(_parse_counts(tags), totals) for word, tags in sections["words"]}
    # WordNet lists what a word can be, not how often: each tag is taken to be as likely as the tag is in general.
    words |= {word: dict.fromkeys(tags.split(), 0.0) for word, tags in sections["wordnet"]}
    pairs, unseen = _smooth_transitions(sections["pairs"])
    lexicon = Lexicon(
        words=words,
        suffixes={
            ending: _score_counts(_parse_counts(tags), totals) for ending, tags in sections["suffixes"]
        },
        pairs=pairs,
        plurals=dict(sections["plurals"]),
        unseen_pair=unseen,
    )
    return replace(lexicon, words=words | lexicon.add_unseen_forms(word for word, _ in sections["words"]))


@functools.cache
def lexicon_digest() -> str:
    """Return the sha256 of the bundled file, hexadecimal."""
    return sha256_hex(_read_file())


@functools.lru_cache(maxsize=1 << 16)
def singularize(noun: str) -> str:
    """Return the lemma of a noun by the bundled lexicon."""
    return load_lexicon().singularize(noun)


def _read_file() -> bytes:
    return (resources.files(phrases.__name__) / "data" / FILE).read_bytes()


def _parse_counts(text: str) -> dict[str, int]:
    return {tag: int(n) for tag, _, n in (item.rpartition(":") for item in text.split())}


def _sum_by_tag(rows: Iterable[list[str]]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for _, tags in rows:
        for tag, n in _parse_counts(tags).items():
            totals[tag] = totals.get(tag, 0) + n
    return totals


def _score_counts(counts: dict[str, int], totals: dict[str, int]) -> Scores:
    """Return log P(tag | word) - log P(tag), which a tagger adds to the transition (Bayes without P(word))."""
    size, everything = sum(counts.values()), sum(totals.values())
    return {
        tag: math.log(n / size) - math.log(totals.get(tag, 1) / everything) + _PRESENT.get(tag, 0.0)
        for tag, n in counts.items()
    }


def _smooth_transitions(rows: Iterable[list[str]]) -> tuple[dict[str, Scores], float]:
    counts: dict[str, dict[str, int]] = {}
    for first, second, n in rows:
        counts.setdefault(first, {})[second] = int(n)
    smoothed = {
        first: {second: math.log((n + 0.1) / (sum(after.values()) + 5)) for second, n in after.items()}
        for first, after in counts.items()
    }
    return smoothed, math.log(1e-5)


def _score_by_shape(word: str) -> Scores:
    """Return the tags that the characters alone decide: numbers and punctuation."""
    if word in _PUNCTUATION:
        return {_PUNCTUATION[word]: 0.0}
    if not any(character.isalnum() for character in word):
        return {":": 0.0}
    if any(character.isdigit() for character in word):
        return {"JJ": 0.0, "NN": -1.0} if word[-1].isalpha() else {"CD": 0.0}
    return {}


def _strip_s(lower: str) -> str:
    return lower[:-1] if len(lower) > 3 and lower.endswith("s") and not lower.endswith("ss") else lower
