"""What a job says about its phrases, decoys and teacher. Imports no heavy library, so configurations load at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from schemas.registry import REFERENCE_PATTERN
from schemas.settings import CompatibleSettings, LegacyValue, Settings
from schemas.spans import check_phrases
from teacher.phrases.chunkers.registry import CHUNKERS


def _list_chunkers(schema: dict[str, JsonValue]) -> None:
    """Write the known chunkers with their descriptions, and the form of one's own, into the field's JSON schema."""
    entries = CHUNKERS.load_all()
    known = "; ".join(f"{name}: {entry.description}" for name, entry in entries.items())
    schema["anyOf"] = [{"enum": list(entries)}, {"pattern": REFERENCE_PATTERN}]
    schema["description"] = f"{known}; or module:attribute of your own"


class PhraseSettings(CompatibleSettings):
    """How noun phrases are found in captions, or which phrases take the place of captions."""

    pipeline: str = Field(
        "bundled",
        description="`bundled` (the best pipeline in the package), `lexicon` (a small tagger without a parser, several "
        "times as quick), or a spaCy model by name or path",
    )
    chunker: str = Field(
        "noun_chunks",
        description="name of a chunker, or module:attribute of your own",
        json_schema_extra=_list_chunkers,
    )
    expressions: bool = Field(
        False,
        description="also ask for referring expressions: a base phrase with all that describes it to its right; "
        "needs a parser",
    )
    partitives: Literal["inner", "whole"] = Field(
        "inner",
        description="`a group of people` is asked for as `people` (inner) or as one phrase (whole), as Flickr30k "
        "Entities counts it",
    )
    language: str = Field(
        "skip",
        description="what to do with captions that are not in English: skip (no phrases), given (only spans that come "
        "with the input), the name or path of a spaCy model to read them with, or off (read them as English)",
    )
    extra_nouns: tuple[str, ...] = Field(
        (),
        description="words, lower-case and singular, that `pipeline: lexicon` always reads as nouns, e.g. names of a "
        "closed world",
    )
    stop_heads: tuple[str, ...] = Field((), description="further head nouns whose phrases are not asked for")
    keep_heads: tuple[str, ...] = Field(
        (), description="head nouns to ask for although the bundled list stops them"
    )
    given: Annotated[tuple[str, ...], LegacyValue()] = Field(
        (),
        description="phrases to ask of every image, e.g. [dog, red car]; no caption is read (input.format: folder)",
    )

    @model_validator(mode="before")
    @classmethod
    def _read_no_text(cls, values: object) -> object:
        """With given phrases, nothing is looked for in a text, whatever its language."""
        if isinstance(values, Mapping) and values.get("given"):
            return {"chunker": "given", "language": "off", **values}
        return values

    @field_validator("given")
    @classmethod
    def _check_given(cls, phrases: tuple[str, ...]) -> tuple[str, ...]:
        return check_phrases(phrases)

    @model_validator(mode="after")
    def _check_together(self) -> PhraseSettings:
        if self.given and (self.chunker, self.language, self.expressions) != ("given", "off", False):
            raise ValueError(
                f"phrases.given asks for these phrases alone, but chunker is {self.chunker}, language is "
                f"{self.language} and expressions is {self.expressions}; leave these three out"
            )
        return self

    @field_validator("chunker")
    @classmethod
    def _check_chunker(cls, name: str) -> str:
        return CHUNKERS.check(name)

    @property
    def has_parser(self) -> bool:
        """Whether captions are parsed. Without it, the head of a given span is only the last noun in it."""
        return self.pipeline != "lexicon" and CHUNKERS.load(self.chunker).uses_parse

    @model_validator(mode="after")
    def _check_parser(self) -> PhraseSettings:
        """Refuse expressions where no parser runs. A model of the user's own is checked when it is loaded."""
        if self.expressions and self.pipeline == "lexicon":
            raise ValueError(
                "expressions needs a parser, which `pipeline: lexicon` does not have; leave expressions out or use "
                "`pipeline: bundled`"
            )
        if self.expressions and not CHUNKERS.load(self.chunker).uses_parse:
            raise ValueError(
                f"expressions needs a parser, which `chunker: {self.chunker}` switches off; leave expressions out or "
                "use `chunker: noun_chunks`"
            )
        return self


class DecoySettings(Settings):
    """Nouns believed absent from an image. A separate pass asks for them, to measure how often the teacher says yes."""

    share: float = Field(
        0.0, ge=0, le=1, description="share of images that are asked; 0: none, no pool is made"
    )
    per_image: int = Field(4, ge=1, le=16, description="most decoys for one image")
    seed: int = Field(
        0,
        ge=0,
        le=2**53,
        description="seed of the pool and of each sample's decoys; change it to draw another pool",
    )
    pool: str | None = Field(
        None,
        min_length=1,
        description="a file with `noun` or `noun TAB count` a line, or a pool that another output keeps; none: drawn "
        "from a bounded sample of the job's own captions when the job is planned",
    )
