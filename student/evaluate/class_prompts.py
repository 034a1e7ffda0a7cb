"""How a vocabulary is put to a model that reads prompts: each class by its name or its own words, in chunks.

Promise: every class stands whole in exactly one prompt, in the order given; a chunk ends where the tokens end or
where the caller's number of classes is reached.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from engine.reading.user_text import read_json
from schemas.errors import ConfigError
from schemas.records import Phrase
from schemas.settings import Settings
from student.settings.prompt_text import SEPARATOR


class ClassWords(Settings):
    """What is asked for a class: `prefix + name + suffix`, of which only the name is scored."""

    name: str | None = Field(None, min_length=1, description="in place of the category's own name")
    prefix: str = Field("", description="words before it, with their space")
    suffix: str = Field("", description="words after it, with their space: ', which is black and white'")


@dataclass(frozen=True)
class Asking:
    """How detections are asked for; the defaults are what COCO's numbers want, LVIS wants chunk 40.

    The authors concatenate their chunks' best boxes (`per_chunk`); suppression is per class, so nothing else differs
    between that and one joint list.
    """

    words: Mapping[str, ClassWords] = field(default_factory=dict)  # by category name
    chunk: int | None = None  # classes in a prompt; None: as many as its tokens hold
    per_chunk: bool = False  # keep max_detections of each chunk, not of each image
    max_detections: int | None = None  # of an image; None: what the protocol asks for
    pad: Literal["bucket", "authors"] = "bucket"  # "authors": as the authors pad a batch, for parity


@dataclass(frozen=True)
class ClassPrompt:
    """A caption, and for each of its phrases the category it stands for."""

    caption: str
    phrases: tuple[Phrase, ...]
    categories: tuple[Mapping[str, Any], ...]


def class_prompts(
    categories: Sequence[Mapping[str, Any]], asking: Asking, fits: Callable[[str], bool]
) -> list[ClassPrompt]:
    """The prompts of a vocabulary.

    fits:   whether a caption's tokens are few enough
    raises: ConfigError for words that do not fit, or are for a category that the gold has not; a name that does not
            fit gets a prompt of its own, which the model's labeler drops and counts
    """
    unknown = sorted(set(asking.words) - {str(category["name"]) for category in categories})
    if unknown:
        raise ConfigError(f"words are given for {unknown}, which are no categories of the gold")
    groups: list[list[Mapping[str, Any]]] = []
    for category in categories:
        last = groups[-1] if groups else []
        has_room = bool(last) and len(last) < (asking.chunk or len(categories))
        if has_room and fits(_prompt([*last, category], asking.words).caption):
            last.append(category)
            continue
        if category["name"] in asking.words and not fits(_prompt([category], asking.words).caption):
            raise ConfigError(
                f"the words for {category['name']!r} alone exceed the model's tokens: shorten them"
            )
        groups.append([category])
    return [_prompt(group, asking.words) for group in groups]


def _prompt(categories: Sequence[Mapping[str, Any]], words: Mapping[str, ClassWords]) -> ClassPrompt:
    caption, phrases = "", []
    for category in categories:
        own = words.get(str(category["name"]), ClassWords())
        name = own.name or clean_name(str(category["name"]))
        begin = len(caption) + len(SEPARATOR) * bool(caption) + len(own.prefix)
        caption += SEPARATOR * bool(caption) + own.prefix + name + own.suffix
        phrases.append(Phrase(begin=begin, end=begin + len(name), text=name, root=name, kind="given"))
    return ClassPrompt(caption, tuple(phrases), tuple(categories))


def clean_name(name: str) -> str:
    """A category's name as the authors ask for it: `fume_hood_(kitchen)` is `fume hood`; one left empty stays."""
    return re.sub(r"\(.*\)", "", name).replace("_", " ").replace("  ", " ").strip() or name


def read_words(path: Path) -> dict[str, ClassWords]:
    """Words by category name from JSON: `{"stop sign": {"name": "stop", "suffix": " sign on a pole"}}`."""
    try:
        return TypeAdapter(dict[str, ClassWords]).validate_python(read_json(path, "--words"))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"--words, {place}: {first['msg']}", where=str(path)) from error
