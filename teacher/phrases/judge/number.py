"""Whether a phrase names one thing, several things or a mass: "a dog", "two dogs", "grass".

The result is a pure function of the phrase's text and the lemma of its head noun, by the bundled word lists. No parser
runs, so it is as cheap at compile time as at labeling time. A phrase that names one thing gets at most one box under
`one_to_one`. The others may need several.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal

from teacher.phrases.tagging.lexicon import load_lexicon, singularize
from teacher.phrases.text.word_set import word_set

PhraseNumber = Literal["singular", "plural", "mass"]


_ONE = word_set("a an one another each every this that either neither 1 single lone")
_SEVERAL = word_set("several many few various numerous multiple both these those")
_ROUND = word_set("few couple dozen hundred thousand")  # counts that "a" may precede: "a few dogs"
_NUMBERS = word_set(
    """two three four five six seven eight nine ten eleven twelve dozen twenty thirty forty fifty hundred
    thousand"""
) | {str(number) for number in range(2, 100)}
# Quantities of several things, or of a mass, when "of" follows: "a group of people", "lots of sand".
_QUANTITIES = word_set(
    """group pair couple bunch set lot lots number row rows stack stacks pile piles collection handful dozens
    hundreds thousands flock herd crowd team swarm cluster array assortment variety bouquet"""
)
# A plural form, yet one object: worn or held as one, boxed as one.
_ONE_OBJECT = word_set(
    """jeans pants trousers shorts leggings tights pajamas pyjamas overalls panties briefs boxers scissors pliers
    tongs tweezers binoculars glasses sunglasses eyeglasses goggles spectacles headphones earphones headquarters
    stairs news series"""
)
_SAME_FORM = word_set("sheep deer fish moose bison salmon trout shrimp squid aircraft spacecraft offspring")
# Plural without an ending. The word lists have some of them as both.
_PLURAL_FORMS = word_set("people police cattle folk folks poultry livestock personnel")
# Mass nouns of captions. A word that is as often a thing (glass, paper, stone, chicken, cake) is left out: without an
# article it is read as one thing.
_MASS = word_set(
    """water grass sand snow ice mud dirt soil dust smoke steam fog mist rain fire hair fur foliage vegetation
    greenery moss ivy hay straw food meat beef pork rice pasta bread butter cheese milk cream coffee tea wine beer juice
    sugar salt pepper flour honey chocolate fruit lettuce spinach broccoli parsley basil garlic corn popcorn seafood
    bacon furniture equipment luggage baggage clothing footwear jewelry jewellery makeup machinery gear hardware
    software traffic money cash cloth denim lace leather wool silk cotton velvet wood timber lumber metal steel iron
    gold silver bronze copper concrete brickwork asphalt gravel rubble debris trash garbage rubbish litter plastic
    paint ink oil gasoline blood art graffiti lightning sunlight seaweed coral shrubbery undergrowth"""
)
_POSSESSIVE = ("'s", "’s", "s'", "s’")
_AFTER_HEAD = word_set(
    """of in on at by with without from to into onto for over under behind beside near between among around across
    along against above below beneath inside outside through that which who whose while and or wearing holding
    sitting standing is are"""
)


@functools.lru_cache(maxsize=1 << 16)
def phrase_number(text: str, root: str) -> PhraseNumber:
    """Return the number of a phrase.

    text: the phrase as in the caption, with determiner and numbers
    root: lemma of its head noun, in any case. If the text does not contain it, the head is the last word before a
          preposition.

    The first of these decides: what counts the head ("two", "several", "a", "each", after any possessor), a quantity
    before "of" ("a group of"), the head's own form. A counted mass noun stays a mass noun.
    """
    words = [word for word in map(_strip_marks, text.lower().split()) if word]
    if not words:
        return "singular"
    words, quantity = _split_quantity(words)
    head = _find_head(words, root.lower())
    form = words[head]
    if quantity == "pair" and form in _ONE_OBJECT:
        return "singular"
    counted = _number_by_count(words[:head]) or ("plural" if quantity else None)
    if counted == "plural":
        return "mass" if form in _MASS else "plural"
    return counted or _number_by_form(form)


def _strip_marks(word: str) -> str:
    return word.strip('.,;:!?"()[]')


def _split_quantity(words: list[str]) -> tuple[list[str], str]:
    """Return what is counted and the quantity, "" without one: `a group of young people` -> `young people`, `group`."""
    limit = _find_preposition(words)
    if words[limit : limit + 1] == ["of"] and words[limit - 1] in _QUANTITIES and limit + 1 < len(words):
        return words[limit + 1 :], words[limit - 1]
    return words, ""


def _find_head(words: Sequence[str], root: str) -> int:
    """Return the index of the word with the root as its form or lemma, else of the last word before a preposition."""
    limit = _find_preposition(words)
    for i in reversed(range(limit)):
        if words[i] == root or singularize(words[i]) == root:
            return i
    return limit - 1


def _find_preposition(words: Sequence[str]) -> int:
    return next((i for i, word in enumerate(words) if i and word in _AFTER_HEAD), len(words))


def _number_by_count(before: Sequence[str]) -> PhraseNumber | None:
    """Return the number by the words before a head. Words up to a possessor count the possessor, not the head."""
    owner = max((i for i, word in enumerate(before) if word.endswith(_POSSESSIVE)), default=-1)
    words = set(before[owner + 1 :])
    if words & _ONE:
        return "plural" if words & _ROUND else "singular"
    return "plural" if words & (_SEVERAL | _NUMBERS) else None


def _number_by_form(form: str) -> PhraseNumber:
    if form in _ONE_OBJECT or form in _SAME_FORM:
        return "singular"
    if form in _PLURAL_FORMS or _is_plural(form):
        return "plural"
    return "mass" if form in _MASS else "singular"


@functools.lru_cache(maxsize=1 << 16)
def _is_plural(form: str) -> bool:
    """Return whether a form is a plural by the word lists, or else by its ending."""
    scores = load_lexicon().score_tags(form)
    plural = max((scores[tag] for tag in ("NNS", "NNPS") if tag in scores), default=None)
    single = max((scores[tag] for tag in ("NN", "NNP") if tag in scores), default=None)
    if plural is not None and single is not None:
        return plural > single
    return plural is not None
