"""Word tables of a treebank: forms by lemma and tag, words to swap in, noun phrases to replace pronouns."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from teacher.phrases.training.treebank import Sentence, Word, children

SWAPPED = ("NN", "NNS", "JJ", "VBZ", "VBG", "VBN")
_VERB_ENDINGS = {"VBZ": "s", "VBG": "ing"}
_INSIDE_NOUN_PHRASE = {"det", "amod", "compound", "nmod:poss"}
_VOWELS = "aeiou"


@dataclass(frozen=True)
class WordForms:
    """The tables that augmentation draws from. Every list is sorted, so a seed decides the draw."""

    forms: dict[tuple[str, str], str]
    words: dict[str, list[tuple[str, str]]]
    """(form, lemma) pairs of each tag of `SWAPPED`."""
    noun_phrases: list[tuple[tuple[Word, ...], int]]
    """(words, position of the head) of short singular noun phrases with a determiner."""

    def form(self, lemma: str, tag: str) -> str:
        """Return the form of a verb for a tag: the treebanks' own, or by rule (`pause` VBZ `pauses`)."""
        return self.forms.get((lemma, tag)) or _inflect(lemma, tag)


def collect_word_forms(sentences: Sequence[Sentence]) -> WordForms:
    """Return tables over all sentences. A word is swapped in only under the tag that it has most of the time."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    tags: dict[str, Counter[str]] = defaultdict(Counter)
    for word in (word for sentence in sentences for word in sentence):
        form = word.form.lower()
        counts[word.lemma.lower(), word.tag][form] += 1
        tags[form][word.tag] += 1
    forms = {key: max(sorted(seen), key=seen.__getitem__) for key, seen in counts.items()}
    return WordForms(forms, _find_swappable(forms, tags), _find_noun_phrases(sentences))


def _find_swappable(
    forms: dict[tuple[str, str], str], tags: dict[str, Counter[str]]
) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, set[tuple[str, str]]] = {tag: set() for tag in SWAPPED}
    for (lemma, tag), form in forms.items():
        if tag in found and form.isalpha() and tags[form][tag] > 0.6 * sum(tags[form].values()):
            found[tag].add((form, lemma))
    for lemma, tag in list(forms):
        if tag in {"VB", "VBP", "VBD"} and lemma.isalpha() and len(lemma) > 2:
            for other in _VERB_ENDINGS:
                found[other].add((forms.get((lemma, other)) or _inflect(lemma, other), lemma))
    return {tag: sorted(pairs) for tag, pairs in found.items()}


def _inflect(lemma: str, tag: str) -> str:
    ending = _VERB_ENDINGS.get(tag, "")
    if ending == "s":
        if lemma.endswith(("s", "x", "z", "ch", "sh", "o")):
            return f"{lemma}es"
        return f"{lemma[:-1]}ies" if lemma.endswith("y") and lemma[-2:-1] not in _VOWELS else f"{lemma}s"
    if ending == "ing" and lemma.endswith("e") and not lemma.endswith(("ee", "ye", "oe")):
        return f"{lemma[:-1]}ing"
    return lemma + ending


def _find_noun_phrases(sentences: Iterable[Sentence]) -> list[tuple[tuple[Word, ...], int]]:
    """Return phrases of a determiner, up to two words and a singular common noun, each text once."""
    found: dict[str, tuple[tuple[Word, ...], int]] = {}
    for sentence in sentences:
        for place, head in enumerate(sentence):
            before = [word for word in children(sentence, head) if word.relation in _INSIDE_NOUN_PHRASE]
            start = place - len(before)
            if head.tag != "NN" or not 1 <= len(before) <= 3 or sentence[start:place] != before:
                continue
            if before[0].form.lower() in {"a", "an", "the", "this", "his", "her"} and all(
                word.form.isalpha() and not children(sentence, word) for word in before
            ):
                words = (*before, head)
                found.setdefault(" ".join(word.form.lower() for word in words), (words, len(before)))
    return [found[text] for text in sorted(found)]
