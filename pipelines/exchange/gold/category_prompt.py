"""Detection as grounding: the caption lists categories. Those with a box are positive, those looked for in vain absent.

Rules of the GLIP authors (od_to_grounding in their data code): all positives, negatives drawn from all classes
without replacement, all shuffled. Training draws again for every step, so `all` is the default here. `authors` fixes
one draw per image, for vocabularies that are too long to be listed in every row.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.exchange.gold.rows import GoldPhrase, join_names
from student.data.order import random_generator

NEGATIVES = 85  # RANDOM_SAMPLE_NEG of their configuration; half of the images get fewer


@dataclass
class UnknownClasses:
    """Classes of an image of which a record was refused: the image may contain them, whatever else is boxed.

    every_class: a record was refused whose class is not known
    """

    names: set[str] = field(default_factory=set)
    every_class: bool = False

    def add(self, name: str | None) -> None:
        """Add the class of a refused record; None if the record does not name it."""
        if name is None:
            self.every_class = True
        else:
            self.names.add(name)

    def select(self, names: Iterable[str]) -> set[str]:
        """Return those of the names that are unknown."""
        return {name for name in names if self.every_class or name in self.names}


def build_prompt(
    order: Iterable[str],
    positives: Mapping[str, GoldPhrase],
    absent: Container[str],
    unknown: Container[str] = (),
) -> tuple[str, list[GoldPhrase]]:
    """Return the caption that asks for the names in this order, and its phrases.

    positives: phrases with their boxes by name, without spans yet
    absent:    names that were looked for. A name that is neither positive nor absent is unresolved
    unknown:   names of which a record was refused: unresolved, even with boxes
    """
    names = list(order)
    caption, spans = join_names(names)
    phrases = []
    for name, (begin, end) in zip(names, spans, strict=True):
        phrase = positives.get(name) or GoldPhrase(0, 0, name, known_absent=name in absent)
        phrase.begin, phrase.end, phrase.unknown = begin, end, name in unknown
        phrases.append(phrase)
    return caption, phrases


def draw_names(names: Sequence[str], positives: Sequence[str], seed: int, image: str) -> list[str]:
    """Return all names to ask for, shuffled: the positives and negatives drawn from `names` by the authors' rules."""
    rng = random_generator("od_to_grounding", seed, image)
    number = NEGATIVES if rng.random() < 0.5 else int(rng.integers(1, NEGATIVES + 1))
    picked = rng.choice(len(names), size=min(number, len(names)), replace=False)
    asked = [*positives, *(names[i] for i in picked if names[i] not in set(positives))]
    return [asked[i] for i in rng.permutation(len(asked))]
