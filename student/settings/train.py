"""Settings of a training run: data streams, prompts, augmentation, schedule. Imports no heavy library.

A run is made of streams. For a fair control, use the same streams with other data. Then both runs get the same prompt
kinds and the same number of negatives in every slot, because these depend on the seed and the slot alone.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from schemas.settings import CompatibleSettings, LegacyValue, Settings
from schemas.spans import PROMPT_SEPARATOR
from student.settings.learning import LearningSettings
from student.settings.prompt_text import SIDES
from student.settings.running import RunningSettings
from student.settings.streams import (
    LoaderSettings,
    MixtureSettings,
    StreamSettings,
    check_ratios,
)

ProbeNouns = Literal["auto", "excluded", "asked"]
NegativesRule = Literal["concepts", "words"]


class HardNegatives(Settings):
    """How phrase lists and gold captions are varied, so that the model must read every word of a phrase."""

    attributes: tuple[tuple[str, ...], ...] = Field(
        (), description="groups of words that exclude each other, e.g. colors, then textures"
    )
    other_attribute: float = Field(
        0.5, ge=0, le=1, description="chance per phrase of a negative 'blue circle' for a red circle"
    )
    other_noun: float = Field(
        0.5, ge=0, le=1, description="chance per phrase of a negative 'red star' for a red circle"
    )
    unknown_noun: float = Field(
        0.35, ge=0, le=1, description="chance that the unknown token replaces a phrase's noun"
    )
    unknown_negative: float = Field(
        0.35, ge=0, le=1, description="chance per phrase of a negative 'blue [UNK]' where nothing is blue"
    )
    drop_attribute: float = Field(
        0.25, ge=0, le=1, description="chance that one attribute word of a phrase is removed"
    )
    caption_unknown_noun: float = Field(
        0.3, ge=0, le=1, description="chance that the unknown token replaces a noun of a gold caption"
    )

    @model_validator(mode="after")
    def _check_groups(self) -> HardNegatives:
        for group in self.attributes:
            if len(set(group)) < 2:
                raise ValueError(
                    f"attribute group {list(group)} has fewer than two words: a word is replaced by another one of its "
                    "group, so add a second one"
                )
        return self


class AugmentSettings(Settings):
    """Augmentation of an image. Its boxes and its caption follow."""

    flip: float = Field(
        0.5, ge=0, le=1, description="chance of a mirror image; left and right swap in the text"
    )
    zoom: float = Field(0.2, ge=0, lt=1, description="scale is drawn from [1 - zoom, 1 + zoom]")
    shift: float = Field(
        0.12, ge=0, lt=1, description="shift is drawn from [-shift, shift] of the side, on both axes"
    )
    min_visible: float = Field(
        0.4, ge=0, le=1, description="a box with less of its area left is ignored, not learned"
    )
    scales: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="shorter sides in pixels, one drawn for each image; without it, the model's own"
    )


class PartsStart(Settings):
    """A start whose backbone and text encoder are pretrained separately. The rest begins with random values.

    The random values are distributed as the authors'.
    """

    swin: str = Field(description="directory of a Swin (config.json, model.safetensors)")
    bert: str = Field(description="directory of a BERT with its tokenizer")
    config: dict[str, bool | int | float | str] = Field(
        default_factory=dict, description="fields of GlipConfig that differ from GLIP-T, e.g. num_blocks: 8"
    )
    processor: dict[str, int | str] = Field(
        default_factory=dict,
        description="shorter_side, longer_side, max_tokens where they differ from the authors'",
    )


class TrainSettings(LearningSettings, RunningSettings, CompatibleSettings):
    """A whole training run. Equal settings and data give equal weights on one CPU type with one thread."""

    start: str | PartsStart = Field(
        description="directory of the model to start from, or {swin: DIR, bert: DIR}: two Hugging Face models"
    )
    streams: tuple[StreamSettings, ...] = Field(min_length=1)
    mixture: MixtureSettings = Field(default_factory=MixtureSettings)
    loader: LoaderSettings = Field(default_factory=LoaderSettings)
    probe_nouns: ProbeNouns = Field(
        "auto",
        description="nouns that decoys are drawn from (docs/decoys.md); excluded: never drawn as negatives, asked: "
        "drawn as any other, auto: excluded where a stream is a view with decoys",
    )
    negatives: Annotated[NegativesRule, LegacyValue(legacy="words")] = Field(
        "concepts",
        description="which nouns are never drawn as absent; concepts: all that may be true of a box of the image, such "
        "as synonyms, broader and narrower nouns, and words for people; words: the image's own words (the rule of "
        "earlier versions)",
    )
    hard_negatives: HardNegatives = Field(default_factory=HardNegatives)
    augment: AugmentSettings = Field(default_factory=AugmentSettings)
    tuning: Literal["full", "linear", "prompt", "language"] = Field(
        "full",
        description="what learns; full: everything, linear: the heads, prompt: an offset to the tokens of "
        "tuning_prompt, language: the text encoder",
    )
    tuning_prompt: str | None = Field(
        None,
        description="the one prompt of tuning prompt: nouns in a fixed order, 'cat. traffic light. dog'; every stream "
        "then has the prompt mix detection: 1",
    )

    @model_validator(mode="after")
    def _check_consistency(self) -> TrainSettings:
        check_ratios(self.streams, self.mixture)
        if "://" in self.out:
            raise ValueError(
                f"out {self.out!r} is a URL: a training writes to a local folder; copy the model from there"
            )
        self._check_tuning_prompt()
        if self.batch_size % (self.workers * self.accumulate):
            raise ValueError(
                f"batch_size ({self.batch_size}) must be a multiple of workers x accumulate ({self.workers} x "
                f"{self.accumulate})"
            )
        if self.checkpoint_every % self.log_every:
            raise ValueError(
                f"checkpoint_every ({self.checkpoint_every}) must be a multiple of log_every ({self.log_every}): a run "
                "that resumes starts a new line of the log"
            )
        return self

    def _check_tuning_prompt(self) -> None:
        if (self.tuning == "prompt") != (self.tuning_prompt is not None):
            raise ValueError("tuning prompt and tuning_prompt belong together: give both or neither")
        if self.tuning_prompt is not None and any(stream.prompts.detection < 1 for stream in self.streams):
            raise ValueError(
                "tuning prompt uses one detection prompt: set prompts detection: 1 in every stream"
            )
        nouns = [] if self.tuning_prompt is None else self.tuning_prompt.split(PROMPT_SEPARATOR)
        if len(set(nouns)) < len(nouns) or not all(re.search(r"\w", noun) for noun in nouns):
            raise ValueError(
                f"tuning_prompt {self.tuning_prompt!r}: expected different nouns separated by '{PROMPT_SEPARATOR}'"
            )
        if self.augment.flip and SIDES.search(self.tuning_prompt or ""):
            raise ValueError(
                "tuning_prompt contains left or right, which a mirror image swaps: set augment flip: 0"
            )
