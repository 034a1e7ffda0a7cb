"""Find the detector class that a phrase names, by its head noun: the class itself, a plural, or a common synonym.

Longer names win, so `a hot dog` is a hot dog and never a dog, even if the class list has no hot dogs.
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Sequence

from teacher.detectors.class_metadata import fold_name
from teacher.detectors.coco_classes import COCO_CLASSES
from teacher.phrases.tagging.lexicon import load_lexicon, singularize
from teacher.phrases.text.word_set import word_set

SYNONYMS: dict[str, str] = {
    "person": """people man woman boy girl child kid baby toddler infant lady gentleman guy adult teenager teen youth
    male female human player golfer surfer skier snowboarder skateboarder skater biker cyclist bicyclist motorcyclist
    rider jockey pedestrian passenger driver worker officer policeman policewoman cop fireman firefighter soldier
    sailor pilot chef cook waiter waitress student pupil teacher doctor nurse farmer fisherman hunter batter catcher
    umpire referee coach athlete runner jogger swimmer diver climber hiker dancer ballerina singer musician guitarist
    drummer actor actress bride groom businessman businesswoman cowboy cowgirl tourist visitor shopper vendor
    photographer artist painter monk priest king queen prince princess mother father mom dad son daughter brother
    sister grandmother grandfather friend spectator wrestler boxer gymnast skydiver customer employee boater
    footballer schoolboy schoolgirl""",
    "bicycle": "bike cycle mountain-bike bmx",
    "motorcycle": "motorbike moped scooter dirt-bike motor-bike",
    "car": "automobile sedan taxi cab suv jeep van minivan hatchback police-car race-car",
    "airplane": "plane aeroplane jet aircraft airliner biplane jetliner jumbo-jet",
    "bus": "minibus",
    "train": "locomotive",
    "truck": "lorry pickup fire-truck firetruck semi-truck",
    "boat": "ship sailboat canoe kayak yacht ferry rowboat speedboat motorboat dinghy gondola",
    "traffic light": "traffic-signal stoplight stop-light",
    "fire hydrant": "hydrant",
    "stop sign": "stopsign",
    "bench": "park-bench",
    "bird": """duck goose swan seagull gull parrot eagle owl pigeon chicken hen rooster pelican heron crow raven hawk
    flamingo sparrow""",
    "cat": "kitten kitty tabby",
    "dog": "puppy pup doggy doggie hound terrier retriever poodle bulldog labrador dachshund chihuahua",
    "horse": "pony foal mare stallion colt",
    "sheep": "lamb ewe",
    "cow": "cattle bull calf ox",
    "bear": "polar-bear grizzly",
    "backpack": "rucksack knapsack",
    "umbrella": "parasol",
    "handbag": "purse hand-bag",
    "tie": "necktie bow-tie",
    "suitcase": "luggage",
    "skis": "ski",
    "sports ball": "ball football basketball volleyball baseball tennis-ball soccer-ball",
    "surfboard": "surf-board",
    "skateboard": "skate-board",
    "tennis racket": "racket racquet tennis-racquet",
    "wine glass": "wineglass champagne-glass",
    "cup": "mug teacup coffee-cup",
    "donut": "doughnut",
    "cake": "cupcake birthday-cake",
    "chair": "armchair stool",
    "couch": "sofa loveseat",
    "potted plant": "houseplant house-plant pot-plant",
    "dining table": "table",
    "tv": "television monitor television-set tv-set",
    "laptop": "laptop-computer notebook-computer",
    "mouse": "computer-mouse",
    "remote": "remote-control",
    "keyboard": "computer-keyboard",
    "cell phone": "phone cellphone smartphone mobile-phone cell-phone iphone",
    "oven": "stove",
    "refrigerator": "fridge",
    "teddy bear": "teddy",
    "hair drier": "hair-dryer hairdryer blow-dryer",
}
# Names whose last word is another class.
MISLEADING = (
    "hot dog",
    "corn dog",
    "prairie dog",
    "teddy bear",
    "gummy bear",
    "guinea pig",
    "rocking horse",
    "cable car",
    "coffee table",
    "pool table",
    "side table",
    "water table",
    "piano keyboard",
    "wedding train",
    "meat ball",
    "snow ball",
    "disco ball",
    "crystal ball",
    "cotton ball",
    "ice cream truck",
    "gravy boat",
    "fish cake",
    "crab cake",
)
# Before "of", these count what follows and are no thing themselves: "a group of people", "one of the dogs".
_QUANTITIES = word_set(
    """group pair couple bunch set lot number row stack pile collection handful dozen hundred thousand flock herd pack
    crowd team swarm cluster array assortment variety majority plenty piece slice kind type sort one two three four
    five some many most all each both several few half"""
)
# The head noun ends before these.
_AFTER_HEAD = word_set(
    """of in on at by with without from to into onto for over under behind beside near between among around across along
    against above below beneath inside outside through that which who whose while is are next"""
)
# A noun phrase begins with these.
_BEGIN_NOUN = word_set(
    "a an the this that these those his her its their my our some several one two three four five six"
)
# These separate two nouns, and join two adjectives: "a black and white cat".
_JOINING = frozenset(("and", "or"))
_PARTICIPLES = frozenset(("VBG", "VBN", "VBD"))
_COCO_FORMS = {fold_name(name): name for name in COCO_CLASSES}


class ClassNames:
    """Look phrases up in a detector's list of classes."""

    def __init__(self, class_names: Sequence[str | None], *, reads_forms: bool = False) -> None:
        """Index the names.

        class_names: None: an output that no phrase names
        reads_forms: whether a name may be written in another form than COCO's (`Person`, `dining_table`, `tvmonitor`),
                     or may name several things (`Handbag/Satchel`). Without it, only a name that is written as in
                     COCO has synonyms
        """
        names = [(n, name) for n, name in enumerate(class_names) if name]
        usual = {n: _find_usual_name(name) if reads_forms else name for n, name in names}
        self._index: dict[tuple[str, ...], int | None] = {_key(words): None for words in MISLEADING}
        for n, name in usual.items():
            for synonym in SYNONYMS.get(name, "").split():
                self._index[_key(synonym.replace("-", " "))] = n
        if reads_forms:
            self._index.update(_index_forms(names))
        self._index.update({_key(name): n for n, name in names})
        self._longest = max(map(len, self._index))

    def find_class(self, phrase: str, root: str = "") -> int | None:
        """Return the index of the class that the phrase's head noun names, None if it names none.

        root: lemma of the head noun, from the phrase finder. Without it, or if the phrase does not contain it, the head
              is the last word before a preposition, a relative pronoun or a participle.
        The longest name around the head counts, so `a traffic light on a pole` is a traffic light. A quantity is
        replaced by what it counts: `a group of people riding horses` are people.
        """
        words = _split_words(phrase)
        if not words:
            return None
        head = _find_root(_split_words(root), words)
        if head is None:
            head = self._guess_head(words)
        elif words[0] in _AFTER_HEAD and words[head + 1 : head + 2] and words[head + 1] in _BEGIN_NOUN:
            # "next to the bus a man": the root belongs to the place
            return self.find_class(" ".join(words[head + 1 :]))
        elif self._is_object(phrase, words, head):
            first = self._guess_head(words)
            return self.find_class(words[first]) if _is_plural(words[first]) else None
        name = self._name_around(words, head)
        if name is not None:
            return self._index[name]
        if root and _is_participle(words[head]):
            # a clause, perhaps parsed wrongly: "a man is riding a horse"
            return self.find_class(phrase)
        if words[head + 1 : head + 2] == ["of"] and singularize(words[head]) in _QUANTITIES:
            return self.find_class(" ".join(words[head + 2 :]))
        return None

    def find_class_of_last_words(self, phrase: str) -> int | None:
        """Return the index of the class that the last words name. For phrases that end in their head."""
        words = _key(phrase)
        for length in range(min(self._longest, len(words)), 0, -1):
            if words[-length:] in self._index:
                return self._index[words[-length:]]
        return None

    def _is_object(self, phrase: str, words: Sequence[str], head: int) -> bool:
        """Return whether word `head` is the object of the true head before it: `men riding horses`.

        A word joined to its participle by a hyphen is part of one adjective: `a man-eating bear`.
        """
        first = self._guess_head(words)
        acting = words[first + 1 : head]
        return (
            any(word.endswith("ing") for word in acting[:1])
            and _is_participle(acting[0])
            and f"{words[first]}-{acting[0]}" not in phrase.lower()
        )

    def _guess_head(self, words: Sequence[str]) -> int:
        """Return the index of the last word before the description to the right of the head."""
        return next((i for i in range(1, len(words)) if self._ends_head(words, i)), len(words)) - 1

    def _ends_head(self, words: Sequence[str], i: int) -> bool:
        """Return whether the head noun ends before word `i`."""
        if words[i] in _AFTER_HEAD:
            return True
        if words[i] not in _JOINING and not _is_participle(words[i]):
            return False
        if words[i].endswith("ed") and _is_only_noun(words[i + 1 : i + 2]):
            return False  # one adjective: "a snow covered car"
        begins_name = any(
            _key_of(words[i : i + length]) in self._index for length in range(1, self._longest + 1)
        )
        return _is_noun(words[i - 1]) and not begins_name

    def _name_around(self, words: Sequence[str], head: int) -> tuple[str, ...] | None:
        """Return the longest known name that contains word `head`. Of equally long ones, the first to end."""
        best: tuple[str, ...] | None = None
        for end in range(head + 1, min(head + self._longest, len(words)) + 1):
            for begin in range(max(0, end - self._longest), head + 1):
                name = _key_of(words[begin:end])
                if name in self._index and (best is None or len(name) > len(best)):
                    best = name
        return best


def _list_forms(name: str) -> list[str]:
    """Return the names in a class name: `car_(automobile)` is a car, `Handbag/Satchel` is either."""
    parts = re.sub(r"\(.*?\)", " ", name).split("/")
    return [form for part in parts for form in (part, _COCO_FORMS.get(fold_name(part))) if form]


def _find_usual_name(name: str) -> str:
    """Return COCO's form of a class name, or the name itself for a class that COCO lacks."""
    return next((form for form in _list_forms(name) if form in SYNONYMS), name)


def _index_forms(names: Sequence[tuple[int, str]]) -> dict[tuple[str, ...], int]:
    """Return the class of each form of the names. A form of several classes (`bow_(weapon)`) names none of them."""
    found: defaultdict[tuple[str, ...], set[int]] = defaultdict(set)
    for n, name in names:
        for form in _list_forms(name):
            found[_key(form)].add(n)
    return {key: next(iter(classes)) for key, classes in found.items() if len(classes) == 1}


def _split_words(text: str) -> list[str]:
    """Return the words of a text in lower case, split at hyphens and apostrophes."""
    return re.findall(r"[^\W_]+", text.lower())


def _key(text: str) -> tuple[str, ...]:
    """Return the lower-case words of a text, the last one singular."""
    return _key_of(_split_words(text))


def _key_of(words: Sequence[str]) -> tuple[str, ...]:
    return (*words[:-1], singularize(words[-1])) if words else ()


def _find_root(root: Sequence[str], words: Sequence[str]) -> int | None:
    """Return the index in `words` of the last word of a head noun's lemma, None if they do not contain it."""
    if not root:
        return None
    wanted = _key_of(root)
    starts = range(len(words) - len(root) + 1)
    ends = (start + len(root) for start in starts)
    return next((end - 1 for end in ends if _key_of(words[end - len(root) : end]) == wanted), None)


@functools.lru_cache(maxsize=1 << 16)
def _is_noun(word: str) -> bool:
    """Return whether a word can be a noun and is not most often an adjective, a number or a determiner."""
    can_be_noun = any(tag.startswith("NN") for tag in load_lexicon().score_tags(word))
    return can_be_noun and not _likely_tag(word).startswith(("JJ", "CD", "DT", "PDT"))


def _is_only_noun(words: Sequence[str]) -> bool:
    """Return whether the first word is a noun and not a preposition, False without words."""
    return (
        bool(words)
        and words[0] not in _AFTER_HEAD
        and _is_noun(words[0])
        and _likely_tag(words[0])[:2] == "NN"
    )


def _is_plural(word: str) -> bool:
    return singularize(word) != word or _likely_tag(word) == "NNS"


@functools.lru_cache(maxsize=1 << 16)
def _is_participle(word: str) -> bool:
    """Return whether a word is a form in -ing or -ed. A short one may be another word (`red`, `wing`)."""
    known = not _PARTICIPLES.isdisjoint(load_lexicon().score_tags(word))
    return word.endswith(("ing", "ed")) and (known or len(word) > 6)


@functools.lru_cache(maxsize=1 << 16)
def _likely_tag(word: str) -> str:
    """Return the most likely Penn tag of a word without context, by the word lists."""
    scores = load_lexicon().score_tags(word)
    return max(sorted(scores), key=lambda tag: scores[tag])
