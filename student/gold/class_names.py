"""Names of classes as a model reads them, and those that a prompt had better not ask for as absent."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from schemas.errors import ConfigError

_JOINERS = "\u200c\u200d"  # words of several scripts, and emoji, are written with them
# The special tokens of BERT, RoBERTa and CLIP, as their tokenizers find them in a text.
_SPECIAL_TOKEN = re.compile(r"\[(?:CLS|SEP|UNK|PAD|MASK)\]|</?s>|<(?:pad|unk|mask)>|<\|\w+\|>")
_BACKGROUND = {"background", "bg", "void", "unlabeled", "unlabelled", "unknown", "none", "ignore", "ignored"}
_CATCH_ALL = {"object", "thing", "item", "stuff", "entity", "other", "others", "misc", "miscellaneous"} | {
    *("objects", "things", "items", "entities", "anything", "something", "everything", "target", "roi"),
}

NAME_REASONS: dict[str, str] = {
    "background": "no box uses it, and it names what is not a thing; remove it from the categories",
    "root_category": "no box uses it, and other categories have it as supercategory; remove it from the categories",
    "case_twin": "another name differs from it by case alone, so a model reads both alike; merge or rename them",
    "homonym": "another name differs from it in parentheses alone, which a prompt leaves out; rename them",
    "no_word": "it has no letter or digit, so a text model has no word for it; rename it",
    "catch_all": "it is a word for everything, so it is true of every box; rename it if you can",
}
"""Why a name is not asked for as absent, with the remedy."""


@dataclass(frozen=True)
class QuestionableName:
    """A class name with a reason of NAME_REASONS."""

    name: str
    reason: str


def clean_name(name: str) -> str:
    """Return a category's name as in the authors' prompts: `fume_hood_(kitchen)` becomes `fume hood`.

    A name that would be empty is returned unchanged.
    """
    return re.sub(r"\(.*\)", "", name).replace("_", " ").replace("  ", " ").strip() or name


def normalize_name(name: str) -> str:
    """Return a category's name as it is asked for: `bow_(weapon)` is `bow`."""
    return clean_name(" ".join(name.split()))


def is_readable(name: str) -> bool:
    """Return whether a name has a letter, digit or symbol, and no control or invisible character except joiners."""
    kinds = [unicodedata.category(char) for char in name if char not in _JOINERS]
    return any(kind[0] in "LNS" for kind in kinds) and not any(kind[0] == "C" for kind in kinds)


def find_special_token(name: str) -> str | None:
    """Return the special token of a text model that the name contains, None if there is none."""
    found = _SPECIAL_TOKEN.search(name)
    return None if found is None else found[0]


def refuse_special_token(name: str, described: str) -> None:
    """Raise ConfigError for a name with a special token.

    described: begins the message: what has the name
    """
    if token := find_special_token(name):
        raise ConfigError(
            f"{described} has {token}, which text models read as a mark of their own, not as a word; rename it"
        )


def find_questionable_names(
    names: Sequence[str], used: Collection[str], parents: Iterable[str] = ()
) -> list[QuestionableName]:
    """Return the names that should not be asked for as absent, in order, each with its first reason.

    names:   as written in the file
    used:    those of them that a box has
    parents: names that other categories have as supercategory
    """
    folded = _group_names(names, lambda name: " ".join(name.split()).casefold())
    bare = _group_names(names, lambda name: normalize_name(name).casefold())
    groups = {"folded": folded, "bare": bare}
    known_parents = {parent.casefold() for parent in parents}
    found = ((name, _find_reason(name, name in used, known_parents, groups)) for name in names)
    return [QuestionableName(name, reason) for name, reason in found if reason is not None]


def merge_names(names: Iterable[str], *, by_case: bool) -> dict[str, str]:
    """Return the class of each name: names that a prompt writes alike are one class.

    by_case: also those that differ by case; the first one's spelling stays
    """
    classes: dict[str, str] = {}
    merged = {}
    for name in names:
        word = normalize_name(name)
        merged[name] = classes.setdefault(word.casefold() if by_case else word, word)
    return merged


def _find_reason(
    name: str, is_used: bool, parents: Collection[str], groups: Mapping[str, Mapping[str, set[str]]]
) -> str | None:
    word = normalize_name(name).casefold()
    if not is_used and word.strip("_ ") in _BACKGROUND:
        return "background"
    if not is_used and name.casefold() in parents:
        return "root_category"
    if len(groups["folded"][" ".join(name.split()).casefold()]) > 1:
        return "case_twin"
    if len(groups["bare"][word]) > 1:
        return "homonym"
    if not any(unicodedata.category(char)[0] in "LN" for char in name):
        return "no_word"
    return "catch_all" if word in _CATCH_ALL else None


def _group_names(names: Iterable[str], fold: Callable[[str], str]) -> dict[str, set[str]]:
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        groups[fold(name)].add(name)
    return groups
