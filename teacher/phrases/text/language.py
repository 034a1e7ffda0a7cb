"""Detect captions that are not English, by script and by function words that only one language has.

A short caption without function words counts as English, since names and product titles have no language.
The result depends on the text alone. It is fast, because it is computed for every caption.
"""

from __future__ import annotations

import re

from teacher.phrases.text.word_set import word_set

FUNCTION_WORDS: dict[str, frozenset[str]] = {
    "en": word_set(
        """a an the of and or in on at to for with by from is are was be been has have had it its this that these
        those he she they his her their our your my we you i not as into over under near behind while who which
        what where when how all some no out up off down about after before between through during without"""
    ),
    "de": word_set(
        """der die das und ist mit für von im auf den ein eine einen einem einer nicht auch zum zur bei aus dem des
        sich wird sind wie oder über nach am vor aber noch nur mehr unter durch kaufen ihr wir ich werden"""
    ),
    "fr": word_set(
        """le la les des du un une est dans pour sur avec au aux par ce cette qui que pas plus et sont ses vous nous
        votre notre chez sans leur ou mais entre être à d'un d'une"""
    ),
    "es": word_set(
        """el la los las del un una es en con para por que y se su al como más este esta sus lo pero sobre sin entre
        son fue muy de nuestro desde hasta cómo"""
    ),
    "pt": word_set(
        "o os as do da dos das um uma é em com para por que e se no na nos nas ao mais seu sua como são não de pelo"
    ),
    "it": word_set(
        """il lo la gli le di del della dei delle un una è in con per che e si su al alla nel nella sono più come da
        dal questo questa non anche degli dello"""
    ),
    "nl": word_set(
        "de het een van en is met voor op te zijn niet ook aan dat bij uit om naar door deze dit je wij heeft maar"
    ),
    "sv": word_set("och en ett att det som på med för är av till den inte i har om från vid eller"),
    "pl": word_set("i w na z do się że jest dla od po za nie to o jak przy oraz przez"),
    "ro": word_set("și cu pe la din pentru este un o în de care sau mai nu prin"),
    "tr": word_set("ve bir bu için ile da de çok en olarak gibi daha var"),
    "id": word_set("dan di yang untuk dengan dari ini itu pada ke dalam adalah tidak atau"),
    "cs": word_set("a v na se je s z do pro o že i jak nebo za od po"),
}
# Also in names and titles of English captions (Los Angeles, Die Hard, crème de la crème).
_HALF = word_set(
    """no as on me de la le du en da un el los las san die par lo bei do son des sur au com plus door van em se si te
    a con per mit al den het war est são"""
)
# Words of letters only. The W of 70W is none. Single letters are models, sizes and initials.
_WORD = re.compile(r"(?<![\w&])[^\W\d_]{2,}(?![\w;])")
_ASCII_WORD = re.compile(r"[a-z]{2,}")  # a superset of the words, several times faster
_FOREIGN_LETTERS = re.compile(r"[äöüßàâçéèêëîïôûùñáíóúãõåøæąćęłńśźżșțăîşğıčřšžůěý]")
_MAX_CHARACTERS = 1000


def _index_words() -> dict[str, list[tuple[str, float]]]:
    """Return for each word the languages that it indicates, with weights."""
    found: dict[str, list[tuple[str, float]]] = {}
    for code, words in FUNCTION_WORDS.items():
        for word in words - FUNCTION_WORDS["en"] if code != "en" else ():
            found.setdefault(word, []).append((code, 0.5 if word in _HALF else 1.0))
    return found


_INDICATORS = _index_words()


def is_english(caption: str) -> bool:
    """Return whether most letters are Latin and no other language's function words are in the majority."""
    text = caption[:_MAX_CHARACTERS].lower()
    if text.isascii():
        if _INDICATORS.keys().isdisjoint(_ASCII_WORD.findall(text)):
            return True
    elif not _is_mostly_latin(text):
        return False
    words = _WORD.findall(text)
    if _INDICATORS.keys().isdisjoint(words):
        return True
    scores: dict[str, float] = {}
    for word in set(words):
        for code, weight in _INDICATORS.get(word, ()):
            scores[code] = scores.get(code, 0.0) + weight
    if not scores:
        return True
    strange = 0.5 * (not text.isascii() and _FOREIGN_LETTERS.search(text) is not None)
    score = max(scores.values()) + strange
    english = sum(word in FUNCTION_WORDS["en"] for word in words)
    return score < 1.5 or score <= 1.2 * english or score <= 0.08 * len(words)


def _is_mostly_latin(text: str) -> bool:
    letters = [character for character in text if character.isalpha()]
    latin = sum(character < "\u0250" or "\u1e00" <= character < "\u1f00" for character in letters)
    return latin * 2 >= len(letters)
