"""Treebank sentences as spaCy training examples."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from teacher.phrases.training.treebank import Sentence

_MAX_SENTENCES = 3


def make_example(nlp: Language, sentences: Sequence[Sentence]) -> Example:
    """Return one document of one or more sentences, with the treebank's tokens."""
    words = [word for sentence in sentences for word in sentence]
    places = {id(word): i for i, word in enumerate(words)}
    heads = [places[id(word.head)] if word.head is not None else places[id(word)] for word in words]
    forms, spaces = [word.form for word in words], [word.space_after for word in words]
    gold = Doc(
        nlp.vocab,
        words=forms,
        spaces=spaces,
        tags=[word.tag for word in words],
        heads=heads,
        deps=["ROOT" if word.head is None else word.relation for word in words],
        sent_starts=[sentence.index(word) == 0 for sentence in sentences for word in sentence],
    )
    return Example(_tokenize(nlp, gold), gold)


def group_sentences(sentences: Iterable[Sentence], draw: random.Random) -> Iterator[list[Sentence]]:
    """Yield neighboring sentences in groups of one to three, since captions have several too."""
    group: list[Sentence] = []
    size = 1
    for sentence in sentences:
        group.append(sentence)
        if len(group) == size:
            yield group
            group, size = [], draw.choice((1, 1, 1, 2, _MAX_SENTENCES))
    if group:
        yield group


def make_batches(examples: Sequence[Example], words: int) -> Iterator[list[Example]]:
    """Yield runs of examples with about `words` words each."""
    batch: list[Example] = []
    size = 0
    for example in examples:
        batch.append(example)
        size += len(example)
        if size >= words:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _tokenize(nlp: Language, gold: Doc) -> Doc:
    """Return spaCy's own tokens if they equal the treebank's: only they have its norms (`n't` is `not`)."""
    own = nlp.make_doc(gold.text)
    if [token.text for token in own] == [token.text for token in gold]:
        return own
    return Doc(
        nlp.vocab,
        words=[token.text for token in gold],
        spaces=[bool(token.whitespace_) for token in gold],
    )
