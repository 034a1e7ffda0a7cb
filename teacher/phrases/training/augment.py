"""Make treebank sentences more like captions: present tense, nouns for pronouns, fragments, careless case.

Each change gets a copy of a sentence and may change it in place. All draws come from one seeded generator. The result
is a tree over its words: one root, no cycle.
"""

from __future__ import annotations

import random
from dataclasses import replace

from teacher.phrases.training.treebank import Sentence, Word, children, subtree
from teacher.phrases.training.word_forms import SWAPPED, WordForms

_SUBJECTS = {"nsubj", "nsubj:pass"}
_FRAGMENTS = {"obj", "obl", "nmod", "conj", "nsubj", "nsubj:pass", "appos"}
_NOUNS = {"NN", "NNS", "NNP", "NNPS"}
_SHARES = {"present": 0.6, "noun_subject": 0.5, "no_is": 0.7, "fragment": 0.3, "no_article": 0.12}
_SURFACE = {"lower": 0.55, "title": 0.03, "no_stop": 0.6}
_SWAP_SHARE = 0.2
_FIXED_LEMMAS = frozenset({"be", "have", "do"})


def make_caption_like(sentence: Sentence, forms: WordForms, draw: random.Random) -> Sentence:
    """Return a copy of the sentence with some of the changes."""
    words = copy_sentence(sentence)
    if draw.random() < _SHARES["fragment"]:
        words = take_fragment(words, draw)
    if draw.random() < _SHARES["present"]:
        to_present(words, forms)
    if draw.random() < _SHARES["noun_subject"]:
        words = replace_pronoun_subjects(words, forms, draw)
    if draw.random() < _SHARES["no_is"]:
        words = drop_is(words)
    if draw.random() < _SHARES["no_article"]:
        words = drop_articles(words)
    swap_words(words, forms, draw)
    return change_surface(words, draw)


def change_surface(words: Sentence, draw: random.Random) -> Sentence:
    """Lower-case the words, and drop or detach the final stop, each for a share of sentences."""
    if draw.random() < _SURFACE["lower"]:
        for word in words:
            word.form = word.form.lower()
    elif draw.random() < _SURFACE["title"]:
        for word in words:
            word.form = word.form.title()
    if len(words) > 1 and words[-1].tag == "." and not children(words, words[-1]):
        if draw.random() < _SURFACE["no_stop"]:
            words = words[:-1]
        elif draw.random() < 0.5:
            words[-2].space_after = True
    return words


def copy_sentence(sentence: Sentence) -> Sentence:
    """Return the same tree of new words."""
    twins = {id(word): replace(word) for word in sentence}
    for word in sentence:
        twins[id(word)].head = twins[id(word.head)] if word.head is not None else None
    return [twins[id(word)] for word in sentence]


def take_fragment(sentence: Sentence, draw: random.Random) -> Sentence:
    """Return one of the sentence's noun phrases with its dependents but no preposition, or the whole sentence."""
    tops = [word for word in sentence if word.relation in _FRAGMENTS and word.tag in _NOUNS]
    if not tops:
        return sentence
    top = draw.choice(tops)
    dropped = {
        id(below)
        for word in children(sentence, top)
        if word.relation in {"case", "cc", "mark", "punct"} and sentence.index(word) < sentence.index(top)
        for below in subtree(sentence, word)
    }
    rest = [word for word in subtree(sentence, top) if id(word) not in dropped]
    places = [sentence.index(word) for word in rest]
    if len(rest) < 2 or places[-1] - places[0] + 1 != len(rest):
        return sentence
    top.head, top.relation = None, "root"
    return rest


def to_present(sentence: Sentence, forms: WordForms) -> None:
    """Change past tense to present: `paused` -> `pauses`, with a plural subject `pause`."""
    for word in sentence:
        if word.tag != "VBD":
            continue
        subject = next((w for w in children(sentence, word) if w.relation in _SUBJECTS), None)
        plural = word.form.lower() == "were" or (subject is not None and _is_plural(sentence, subject))
        word.tag = "VBP" if plural else "VBZ"
        word.form = _present_form(word, forms)


def replace_pronoun_subjects(sentence: Sentence, forms: WordForms, draw: random.Random) -> Sentence:
    """Replace pronouns by noun phrases, and let the verb agree: `he runs` -> `the old man runs`."""
    changed: Sentence = []
    for word in sentence:
        if word.tag != "PRP" or word.relation not in _SUBJECTS or word.head is None:
            changed.append(word)
            continue
        parts, head_place = draw.choice(forms.noun_phrases)
        new = [replace(part, form=part.form.lower(), space_after=True) for part in parts]
        head = new[head_place]
        for part in new:
            part.head = head
        head.head, head.relation, new[-1].space_after = word.head, word.relation, word.space_after
        for orphan in children(sentence, word):
            orphan.head = head
        _make_singular(sentence, word.head, forms)
        changed += new
    return changed


def drop_is(sentence: Sentence) -> Sentence:
    """Drop a form of "be" before -ing: `a man is riding a horse` -> `a man riding a horse`, a noun phrase."""
    dropped = [
        word
        for word in sentence
        if word.relation == "aux" and word.lemma.lower() == "be" and word.head is not None
        if word.head.tag == "VBG" and not children(sentence, word)
    ]
    for helper in dropped:
        assert helper.head is not None
        _attach_to_subject(sentence, helper.head)
    return [word for word in sentence if not any(word is gone for gone in dropped)]


def drop_articles(sentence: Sentence) -> Sentence:
    """Drop articles, as headlines and catalogs do: `a man rides the horse` -> `man rides horse`."""
    rest = [w for w in sentence if w.relation != "det" or w.form.lower() not in {"a", "an", "the"}]
    whole = all(word.head is None or any(word.head is other for other in rest) for word in rest)
    return rest if rest and whole else sentence


def swap_words(sentence: Sentence, forms: WordForms, draw: random.Random) -> None:
    """Swap in words of the same part of speech, drawn by type: rare words are as likely as frequent ones."""
    for word in sentence:
        swappable = word.tag in SWAPPED and word.lemma.lower() not in _FIXED_LEMMAS and word.form.isalpha()
        if swappable and draw.random() < _SWAP_SHARE and forms.words[word.tag]:
            word.form, word.lemma = draw.choice(forms.words[word.tag])


def _present_form(word: Word, forms: WordForms) -> str:
    lemma = word.lemma.lower()
    if lemma == "be":
        return "are" if word.tag == "VBP" else "is"
    return forms.form(lemma, "VBZ") if word.tag == "VBZ" else lemma


def _make_singular(sentence: Sentence, verb: Word, forms: WordForms) -> None:
    """Put the finite verb of a clause (verb, auxiliary or copula) into the third person singular."""
    for word in (verb, *children(sentence, verb)):
        if word.tag == "VBP" and (word is verb or word.relation in {"aux", "aux:pass", "cop"}):
            word.tag = "VBZ"
            word.form = "is" if word.lemma.lower() == "be" else forms.form(word.lemma.lower(), "VBZ")


def _is_plural(sentence: Sentence, subject: Word) -> bool:
    coordinated = any(word.relation == "conj" for word in children(sentence, subject))
    return (
        coordinated
        or subject.tag in {"NNS", "NNPS"}
        or subject.form.lower() in {"they", "we", "you", "these"}
    )


def _attach_to_subject(sentence: Sentence, verb: Word) -> None:
    """Put the subject into the verb's place in the tree, and make the verb a clause of the subject."""
    subjects = [word for word in children(sentence, verb) if word.relation in _SUBJECTS]
    if len(subjects) != 1 or subjects[0].tag not in _NOUNS or verb.relation != "root":
        return
    (subject,) = subjects
    if any(w.relation in {"mark", "aux", "aux:pass"} and w.lemma != "be" for w in children(sentence, verb)):
        return
    subject.head, subject.relation = verb.head, verb.relation
    verb.head, verb.relation = subject, "acl"
    for word in children(sentence, verb):
        if word.relation == "punct" and sentence.index(word) == len(sentence) - 1:
            word.head = subject
