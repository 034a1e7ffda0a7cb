"""Which detector class a phrase names, by its last words: the class itself, a plural, or an everyday synonym.

Promise: longer names win, so `a hot dog` is a hot dog and never a dog, also where the class list has no hot dogs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from teacher.phrases.lexicon import bundled

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
# Their last word names a class that they are not.
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


class ClassNames:
    """Looks phrases up in a detector's list of classes."""

    def __init__(self, class_names: Sequence[str]) -> None:
        self._index: dict[tuple[str, ...], int | None] = {_key(words): None for words in MISLEADING}
        for n, name in enumerate(class_names):
            for synonym in SYNONYMS.get(name, "").split():
                self._index[_key(synonym.replace("-", " "))] = n
        self._index.update({_key(name): n for n, name in enumerate(class_names)})
        self._longest = max(map(len, self._index))

    def index_of(self, phrase: str) -> int | None:
        """Index of the class that the phrase's last words name; None for a phrase that names none."""
        words = _key(phrase)
        for length in range(min(self._longest, len(words)), 0, -1):
            if words[-length:] in self._index:
                return self._index[words[-length:]]
        return None


def _key(text: str) -> tuple[str, ...]:
    """Lower-case words, the last one singular."""
    words = re.findall(r"[^\W_]+", text.lower())
    return (*words[:-1], bundled().singular(words[-1])) if words else ()
