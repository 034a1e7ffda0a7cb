"""Make detection prompts for a vocabulary: each class by its name or its own words, in chunks.

Promise: every class is complete in exactly one prompt, in the order given. A chunk ends at the token limit or at the
caller's number of classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import Field, TypeAdapter, ValidationError

from engine.reading.user_text import read_json
from schemas.errors import ConfigError
from schemas.records import Phrase
from schemas.settings import Settings
from schemas.spans import PROMPT_SEPARATOR
from student.gold.class_names import clean_name
from student.gold.coco.types import GoldCategory


class ClassWords(Settings):
    """The words for a class in a prompt: `prefix + name + suffix`. Only the name is scored."""

    name: str | None = Field(None, min_length=1, description="replaces the category's own name")
    prefix: str = Field("", description="words before it, with their space")
    suffix: str = Field("", description="words after it, with their space: ', which is black and white'")


@dataclass(frozen=True)
class PromptOptions:
    """How a model is asked for detections. The defaults are for COCO's numbers; for LVIS use chunk 40.

    The authors concatenate the best boxes of their chunks (`per_chunk`). Suppression is per class, so otherwise this
    equals one joint list.
    """

    words: Mapping[str, ClassWords] = field(default_factory=dict)  # by category name
    chunk: int | None = None  # classes in a prompt; None: as many as its tokens hold
    per_chunk: bool = False  # keep max_detections of each chunk, not of each image
    max_detections: int | None = None  # asked for of an image, and counted; None: as the protocol says
    pad: Literal["bucket", "authors"] = "bucket"  # "authors": as the authors pad a batch, for parity


@dataclass(frozen=True)
class ClassPrompt:
    """A caption, and the category of each of its phrases."""

    caption: str
    phrases: tuple[Phrase, ...]
    categories: tuple[GoldCategory, ...]


def class_prompts(
    categories: Sequence[GoldCategory], options: PromptOptions, fits: Callable[[str], bool]
) -> list[ClassPrompt]:
    """Return the prompts of a vocabulary.

    A name that does not fit gets a prompt of its own, which the model's labeler drops and counts.

    fits:   whether the tokens of a caption are within the limit
    raises: ConfigError for words that do not fit, or for words of a category that is not in the gold
    """
    unknown = sorted(set(options.words) - {str(category["name"]) for category in categories})
    if unknown:
        raise ConfigError(
            f"--words names {unknown}, which are not categories of the gold; correct or remove them"
        )
    groups: list[list[GoldCategory]] = []
    for category in categories:
        last = groups[-1] if groups else []
        has_room = bool(last) and len(last) < (options.chunk or len(categories))
        if has_room and fits(_make_prompt([*last, category], options.words).caption):
            last.append(category)
            continue
        if category["name"] in options.words and not fits(_make_prompt([category], options.words).caption):
            raise ConfigError(
                f"the words for {category['name']!r} alone exceed the model's tokens: shorten them"
            )
        groups.append([category])
    return [_make_prompt(group, options.words) for group in groups]


def _make_prompt(categories: Sequence[GoldCategory], words: Mapping[str, ClassWords]) -> ClassPrompt:
    caption = ""
    phrases: list[Phrase] = []
    for category in categories:
        own = words.get(str(category["name"]), ClassWords())
        name = own.name or clean_name(str(category["name"]))
        begin = len(caption) + len(PROMPT_SEPARATOR) * bool(caption) + len(own.prefix)
        caption += PROMPT_SEPARATOR * bool(caption) + own.prefix + name + own.suffix
        phrases.append(Phrase(begin=begin, end=begin + len(name), text=name, root=name, kind="given"))
    return ClassPrompt(caption, tuple(phrases), tuple(categories))


def read_words(path: Path) -> dict[str, ClassWords]:
    """Return words by category name from JSON: `{"stop sign": {"name": "stop", "suffix": " sign on a pole"}}`."""
    try:
        return TypeAdapter(dict[str, ClassWords]).validate_python(read_json(path, "--words"))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"--words, {place}: {first['msg']}", where=str(path)) from error
