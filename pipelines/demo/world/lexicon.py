"""The words of the tiny world: nouns, colours, textures and what stands around them in captions.

The vocabulary is the teacher's whole tokenizer: one token per word.
"""

from __future__ import annotations

HEAD_NOUNS = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "arrow", "diamond", "plank")
TAIL_NOUNS = ("crescent", "house", "hourglass", "bolt", "mushroom", "fish")
NOUNS = HEAD_NOUNS + TAIL_NOUNS

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 48, 49),
    "orange": (240, 140, 30),
    "yellow": (244, 220, 60),
    "green": (46, 160, 67),
    "cyan": (64, 200, 210),
    "blue": (44, 90, 214),
    "purple": (140, 60, 190),
    "pink": (246, 140, 190),
}
TEXTURES = ("striped", "dotted")

# Between two phrases of a caption. Two of them state where things are, and only when it is true.
JOINERS = ("and", "next to", "beside", "near", "with")
LEFT_OF, RIGHT_OF = "to the left of", "to the right of"
LAST_JOINERS = ("and", "and")

# Words of the web around a caption: what a phrase finder must leave alone.
PREFIXES = ("stock photo of", "image of", "a picture of", "free clipart :", "new !")
SUFFIXES = ("free download", ". high resolution", "on sale now", ", stock vector", ", royalty free")

_GLUE = (*JOINERS, LEFT_OF, RIGHT_OF, *PREFIXES, *SUFFIXES, "a an the . , : ! - |")


def vocabulary() -> list[str]:
    """Every word of the world, nouns first: what the teacher's tokenizer is made of."""
    glue = sorted({word for text in _GLUE for word in text.split()})
    return [*NOUNS, *COLOURS, *TEXTURES, *glue]


def article(word: str) -> str:
    """ "a" or "an", as the next word is spoken."""
    return "an" if word[0] in "aeiou" or word == "hourglass" else "a"
