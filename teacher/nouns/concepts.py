"""Decide which nouns may be true of one box, so that a prompt does not ask for a child as absent where a boy is.

Two nouns may be true of one box if one of these holds:

- they are equal without article, case and number, or one is the head of the other: `dining tables`, `table`
- both name people: `boy`, `player`, `crowd`
- the one that is asked is true of nearly everything: `thing`, `piece`
- both are in one group of words that captions use for the same thing: `ocean` and `sea`
- both name one class of COCO, whose detectors give both the same boxes: `kitten` and `cat`, `ship` and `boat`
- one has the other among its synonyms and broader nouns in the class list's own relations, at any distance
- the same in the bundled table, or one is the head of a compound that it lists for the other (a `dingo` is a wild
  `dog`), unless both are names in COCO's list, which tells them apart: `car` and `bus`

The answers depend on the nouns, the bundled files and the class list's relations alone.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from schemas.digests import digest_of
from teacher.detectors.class_names import SYNONYMS, ClassNames
from teacher.detectors.coco_classes import COCO_CLASSES
from teacher.nouns.class_relations import ClassRelations
from teacher.nouns.names import list_names
from teacher.nouns.table import NounTable, load_nouns, nouns_digest
from teacher.phrases.tagging.lexicon import lexicon_digest
from teacher.phrases.text.word_set import word_set

METHOD_VERSION = 1
"""Raise it if a change of code changes an answer. It is part of a training's digest."""
# Words for people that are missing in the table, or whose other meanings are things: a `guide` is a book, too.
PEOPLE_WORDS = word_set(
    """band bishop boss builder bunch camper captive cast character choir client collector diner duo elder engineer
    fighter figure gang gathering governor graduate granny group guard guest guide hero host individual jumper knight
    leader master mate model pair pirate pitcher racer secretary staff superman supporter survivor tackle trainer trio
    twin zombie"""
)
# Words that captions use for one and the same thing, and that the table lists side by side.
ALIKE = (
    word_set("ocean sea"),
    word_set("beach coast seashore seaside shore shoreline"),
    word_set("hill hillside mountain mountainside slope"),
    word_set("bluff cliff ledge outcropping"),
    word_set("avenue lane road roadway street"),
    word_set("path pavement sidewalk trail walkway"),
    word_set("city town"),
    word_set("bush hedge shrub shrubbery"),
    word_set("field grass lawn meadow pasture"),
    word_set("fence railing"),
    word_set("cap hat"),
    word_set("costume outfit suit uniform"),
    word_set("cup glass mug"),
    word_set("dish plate platter"),
    word_set("pan pot"),
    word_set("carpet mat rug"),
    word_set("bag sack"),
    word_set("image photo photograph picture"),
)
# Nouns that are true of nearly any box, of one thing or of several. They are never absent.
GENERAL_WORDS = word_set(
    """bit bunch collection equipment everything flock gear group half herd item kind lot number object one other pair
    part piece pile row set slice something sort stack stuff thing type"""
)
_ARTICLE = re.compile(r"^(?:an?|the|this|that|these|those|some|his|her|its|their|my|our|your)\s+")
_MIN_ENDING_CHARS = 4
_COCO_NAMES = frozenset(COCO_CLASSES)
_PERSON = COCO_CLASSES.index("person")
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class NounConcept:
    """What a noun means. Synsets are numbers of the bundled table."""

    names: frozenset[str]
    """The noun and its singular, and those of each alternative: `Cabinet/shelf` has two."""
    heads: frozenset[str]
    """The names and the heads of compounds."""
    senses: frozenset[int]
    main_senses: frozenset[int]
    """The most frequent meaning of each name, and those that a box can be drawn around.

    They are all meanings if the table does not have the most frequent one.
    """
    kinds: frozenset[int]
    main_kinds: frozenset[int]
    """The senses, and those of the heads: what a box of the noun is, and what is broader."""
    compound_heads: frozenset[str]
    """Heads of the compounds that name the main senses or their direct hypernyms."""
    coco_classes: frozenset[int]
    alike: frozenset[int]
    """Indices of the groups in ALIKE that have one of the names."""
    is_coco_name: bool
    is_people: bool
    is_general: bool


class PresentNouns:
    """Nouns of an image. Built once per image, for many queries."""

    def __init__(self, nouns: Iterable[str], relations: ClassRelations) -> None:
        concepts = [describe_noun(noun) for noun in nouns]
        self._relations = relations
        self._names = _unite(one.names for one in concepts)
        self._broader_names = relations.find_broader(_unite(one.heads for one in concepts))
        self._related = _RelatedSenses(concepts)
        self._related_if_in_coco = _RelatedSenses([one for one in concepts if not one.is_coco_name])
        self._classes = _unite(one.coco_classes for one in concepts)
        self._alike = _unite(one.alike for one in concepts)
        self._has_people = any(one.is_people for one in concepts)

    def may_mean(self, noun: str) -> bool:
        """Return whether the noun may be true of a box of one of these nouns.

        A relation in the table counts if it holds for a main sense of one of the two nouns.
        """
        asked = describe_noun(noun)
        related = self._related_if_in_coco if asked.is_coco_name else self._related
        return (
            (asked.is_general and bool(self._names))
            or (self._has_people and asked.is_people)
            or not self._classes.isdisjoint(asked.coco_classes)
            or not self._alike.isdisjoint(asked.alike)
            or not self._broader_names.isdisjoint(asked.names)
            or not self._names.isdisjoint(self._relations.find_broader(asked.heads))
            or related.include(asked)
        )


class _RelatedSenses:
    """Meanings of an image's nouns, and all broader ones."""

    def __init__(self, concepts: Sequence[NounConcept]) -> None:
        self._names = _unite(one.names for one in concepts)
        self._compound_heads = _unite(one.compound_heads for one in concepts)
        self._senses = _unite(one.senses for one in concepts)
        self._main_senses = _unite(one.main_senses for one in concepts)
        self._broader = _unite(_find_broader(one.kinds) for one in concepts)
        self._main_broader = _unite(_find_broader(one.main_kinds) for one in concepts)

    def include(self, asked: NounConcept) -> bool:
        """Return whether a meaning of the noun is among these, broader or narrower."""
        return not (
            self._compound_heads.isdisjoint(asked.names)
            and self._names.isdisjoint(asked.compound_heads)
            and self._broader.isdisjoint(asked.main_senses)
            and self._main_broader.isdisjoint(asked.senses)
            and self._senses.isdisjoint(_find_broader(asked.main_kinds))
            and self._main_senses.isdisjoint(_find_broader(asked.kinds))
        )


@functools.lru_cache(maxsize=32_768)
def describe_noun(noun: str) -> NounConcept:
    """Return the concept of a noun, a plural or a compound, in any case, with or without an article.

    A word that no table knows has the meanings of its longest known ending of four letters or more: a `coworker` is a
    worker. Without such an ending it has none.
    """
    table, forms = load_nouns(), _list_forms(noun)
    pairs = [(form, name) for form in forms for name in list_names(form)]
    heads = frozenset(name for _, name in pairs)
    names = frozenset(name for form, name in pairs if name.count(" ") == form.count(" "))
    endings = frozenset() if any(map(table.has, heads)) else _find_known_endings(heads, table)
    known = endings or frozenset(filter(table.has, heads))
    classes = {_load_coco_names().find_class_of_last_words(word) for word in (*forms, *endings)}
    is_people = _PERSON in classes or any(_names_people(word, table) for word in heads | known)
    senses = {word: _select_senses(word, is_people, table) for word in known}
    main = {word: _select_main(word, own, table) for word, own in senses.items()}
    return NounConcept(
        names=names,
        heads=heads,
        senses=_unite(own for word, own in senses.items() if word in names),
        main_senses=_unite(own for word, own in main.items() if word in names),
        kinds=_unite(senses.values()),
        main_kinds=_unite(main.values()),
        compound_heads=_find_compound_heads(_unite(main.values()), table),
        coco_classes=frozenset(number for number in classes if number is not None),
        alike=frozenset(number for number, group in enumerate(ALIKE) if not group.isdisjoint(names)),
        is_coco_name=not _COCO_NAMES.isdisjoint(names),
        is_people=is_people,
        is_general=not GENERAL_WORDS.isdisjoint(names),
    )


def concepts_digest(relations: ClassRelations) -> str:
    """Return a digest of everything that answers depend on besides the nouns."""
    return digest_of(
        {
            "method": METHOD_VERSION,
            "people": sorted(PEOPLE_WORDS),
            "alike": [sorted(group) for group in ALIKE],
            "general": sorted(GENERAL_WORDS),
            "classes": SYNONYMS,
            "nouns": nouns_digest(),
            "lexicon": lexicon_digest(),
            "relations": relations.digest(),
        }
    )


def _list_forms(noun: str) -> list[str]:
    """Return the alternatives of a name in lower case, without article and what is in parentheses.

    A form with a hyphen is also one with a blank.
    """
    text = re.sub(r"\(.*?\)|_", " ", noun.casefold())
    parts = [_ARTICLE.sub("", " ".join(part.split())) for part in text.split("/")]
    forms = [form for part in parts for form in (" ".join(part.replace("-", " ").split()), part)]
    return [form for form in dict.fromkeys(forms) if form]


def _find_compound_heads(senses: Iterable[int], table: NounTable) -> frozenset[str]:
    """Return the last words of two-part names of the synsets and their direct hypernyms, for things."""
    near = {synset for sense in senses if sense in table.things for synset in (sense, *table.above[sense])}
    return _unite(table.heads[synset] for synset in near if synset in table.heads)


def _find_known_endings(heads: Iterable[str], table: NounTable) -> frozenset[str]:
    """Return the longest known ending of each head, for heads that have one."""
    found = set()
    for head in heads:
        endings = (head[start:] for start in range(1, len(head) - _MIN_ENDING_CHARS + 1))
        found.update(next(([ending] for ending in endings if table.has(ending)), []))
    return frozenset(found)


def _names_people(word: str, table: NounTable) -> bool:
    """Return whether the word's most frequent meaning is people, and none of its meanings another thing."""
    if word in PEOPLE_WORDS:
        return True
    senses = table.meanings.get(word, ())
    others = [sense for sense in senses if sense in table.things and sense not in table.persons]
    first = table.first_sense.get(word)
    return not others and (first in table.persons or first in table.groups)


def _select_senses(word: str, is_people: bool, table: NounTable) -> frozenset[int]:
    """Return the word's meanings: of a word for people no things, of another word no people (a dog is no man)."""
    senses = frozenset(table.meanings[word])
    people = senses & table.persons | senses & table.groups
    return senses - (senses & table.things - people if is_people else people) or senses


def _select_main(word: str, senses: frozenset[int], table: NounTable) -> frozenset[int]:
    first = table.first_sense.get(word)
    return senses & table.things | {first} if first in senses else senses


@functools.lru_cache(maxsize=8_192)
def _find_broader(senses: frozenset[int]) -> frozenset[int]:
    """Return the synsets and all above them."""
    return load_nouns().find_broader(senses)


def _unite(sets: Iterable[frozenset[T]]) -> frozenset[T]:
    return frozenset().union(*sets)


@functools.cache
def _load_coco_names() -> ClassNames:
    return ClassNames(COCO_CLASSES)
