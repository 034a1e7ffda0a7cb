"""Whether a phrase speaks of one thing, of several, or of a stuff: "a dog", "two dogs", "grass".

Its promise: a pure function of the phrase's text and the lemma of its head noun, read from the bundled word lists; no
parser runs, so it is as cheap where labels are compiled as where phrases are found. A phrase that speaks of one thing
may be given one box; the others may need several.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal

from teacher.phrases.tagging.lexicon import bundled

PhraseNumber = Literal["singular", "plural", "mass"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ONE = _words("a an one another each every this that either neither 1 single lone")
_SEVERAL = _words("several many few various numerous multiple both these those")
_ROUND = _words("few couple dozen hundred thousand")  # counts that "a" may precede: "a few dogs"
_NUMBERS = _words(
    """two three four five six seven eight nine ten eleven twelve dozen twenty thirty forty fifty hundred
    thousand"""
) | {str(number) for number in range(2, 100)}
# Quantities that speak of several, or of a stuff, when "of" follows: "a group of people", "lots of sand".
_QUANTITIES = _words(
    """group pair couple bunch set lot lots number row rows stack stacks pile piles collection handful dozens
    hundreds thousands flock herd crowd team swarm cluster array assortment variety bouquet"""
)
# A plural form, yet one object: worn or held as one, boxed as one.
_ONE_OBJECT = _words(
    """jeans pants trousers shorts leggings tights pajamas pyjamas overalls panties briefs boxers scissors pliers
    tongs tweezers binoculars glasses sunglasses eyeglasses goggles spectacles headphones earphones headquarters
    stairs news series"""
)
_SAME_FORM = _words("sheep deer fish moose bison salmon trout shrimp squid aircraft spacecraft offspring")
# Plural without an ending; the word lists hold some of them as either.
_PLURAL_FORMS = _words("people police cattle folk folks poultry livestock personnel")
# Stuffs that captions name and that a box may hold in pieces. A word that is as often a thing (glass, paper, stone,
# chicken, cake) is left out: without an article it is read as one thing.
_MASS = _words(
    """water grass sand snow ice mud dirt soil dust smoke steam fog mist rain fire hair fur foliage vegetation
    greenery moss ivy hay straw food meat beef pork rice pasta bread butter cheese milk cream coffee tea wine beer juice
    sugar salt pepper flour honey chocolate fruit lettuce spinach broccoli parsley basil garlic corn popcorn seafood
    bacon furniture equipment luggage baggage clothing footwear jewelry jewellery makeup machinery gear hardware
    software traffic money cash cloth denim lace leather wool silk cotton velvet wood timber lumber metal steel iron
    gold silver bronze copper concrete brickwork asphalt gravel rubble debris trash garbage rubbish litter plastic
    paint ink oil gasoline blood art graffiti lightning sunlight seaweed coral shrubbery undergrowth"""
)
_POSSESSIVE = ("'s", "’s", "s'", "s’")
_AFTER_HEAD = _words(
    """of in on at by with without from to into onto for over under behind beside near between among around across
    along against above below beneath inside outside through that which who whose while and or wearing holding
    sitting standing is are"""
)


@functools.lru_cache(maxsize=1 << 16)
def phrase_number(text: str, root: str) -> PhraseNumber:
    """The number of a phrase.

    text: the phrase as the caption has it, determiner and numbers included
    root: lemma of its head noun, any case; where the text does not hold it, the last word before a preposition is head

    Read in this order: what counts the head ("two", "several", "a", "each", after any possessor); a quantity before
    "of" ("a group of"); the head's own form. A counted stuff stays a stuff.
    """
    words = [word for word in map(_bare, text.lower().split()) if word]
    if not words:
        return "singular"
    words, quantity = _after_quantity(words)
    head = _head(words, root.lower())
    form = words[head]
    if quantity == "pair" and form in _ONE_OBJECT:
        return "singular"
    counted = _counted(words[:head]) or ("plural" if quantity else None)
    if counted == "plural":
        return "mass" if form in _MASS else "plural"
    return counted or _number_of_form(form)


def _bare(word: str) -> str:
    return word.strip('.,;:!?"()[]')


def _after_quantity(words: list[str]) -> tuple[list[str], str]:
    """What a quantity is of, and the quantity: `a group of young people` -> `young people`, `group`; "" without one."""
    limit = _before_preposition(words)
    if words[limit : limit + 1] == ["of"] and words[limit - 1] in _QUANTITIES and limit + 1 < len(words):
        return words[limit + 1 :], words[limit - 1]
    return words, ""


def _head(words: Sequence[str], root: str) -> int:
    """Index of the head: the word that has the root as its form or lemma, else the last before a preposition."""
    limit = _before_preposition(words)
    for i in reversed(range(limit)):
        if words[i] == root or _singular(words[i]) == root:
            return i
    return limit - 1


def _before_preposition(words: Sequence[str]) -> int:
    return next((i for i, word in enumerate(words) if i and word in _AFTER_HEAD), len(words))


def _counted(before: Sequence[str]) -> PhraseNumber | None:
    """What the words before a head say of its number; those up to a possessor speak of the possessor."""
    owner = max((i for i, word in enumerate(before) if word.endswith(_POSSESSIVE)), default=-1)
    words = set(before[owner + 1 :])
    if words & _ONE:
        return "plural" if words & _ROUND else "singular"
    return "plural" if words & (_SEVERAL | _NUMBERS) else None


def _number_of_form(form: str) -> PhraseNumber:
    if form in _ONE_OBJECT or form in _SAME_FORM:
        return "singular"
    if form in _PLURAL_FORMS or _is_plural(form):
        return "plural"
    return "mass" if form in _MASS else "singular"


@functools.lru_cache(maxsize=1 << 16)
def _singular(form: str) -> str:
    return bundled().singular(form)


@functools.lru_cache(maxsize=1 << 16)
def _is_plural(form: str) -> bool:
    """Whether the word lists, or else the ending, make a form a plural rather than a singular."""
    scores = bundled().tags(form)
    plural = max((scores[tag] for tag in ("NNS", "NNPS") if tag in scores), default=None)
    single = max((scores[tag] for tag in ("NN", "NNP") if tag in scores), default=None)
    if plural is not None and single is not None:
        return plural > single
    return plural is not None
