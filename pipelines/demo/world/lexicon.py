"""The words of the tiny world: nouns, colors, textures, and the other words of captions.

The vocabulary is the teacher's whole tokenizer, with one token per word.
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

# Between two phrases of a caption. LEFT_OF and RIGHT_OF are used only where they are true.
JOINERS = ("and", "next to", "beside", "near", "with")
LEFT_OF, RIGHT_OF = "to the left of", "to the right of"
LAST_JOINERS = ("and", "and")

# Words around a caption on the web, which a phrase finder must not return.
PREFIXES = ("stock photo of", "image of", "a picture of", "free clipart :", "new !")
SUFFIXES = ("free download", ". high resolution", "on sale now", ", stock vector", ", royalty free")

_GLUE = (*JOINERS, LEFT_OF, RIGHT_OF, *PREFIXES, *SUFFIXES, "a an the . , : ! - |")


def list_vocabulary() -> list[str]:
    """Return every word of the world, nouns first, for the teacher's tokenizer."""
    glue = sorted({word for text in _GLUE for word in text.split()})
    return [*NOUNS, *COLOURS, *TEXTURES, *glue]


def choose_article(word: str) -> str:
    """Return the article for a word: "a" or "an"."""
    return "an" if word[0] in "aeiou" or word == "hourglass" else "a"
