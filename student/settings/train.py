"""What a training run is: its data streams, prompts, augmentation and schedule. Imports no heavy library.

A run is made of streams. A fair control is the same streams with other data in them: it then meets the same prompt
kinds and the same number of negatives, slot by slot, because these are drawn from the seed and the slot alone.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from schemas.settings import Settings
from student.settings.learning import LearningSettings
from student.settings.prompt_text import SEPARATOR, SIDES
from student.settings.running import RunningSettings
from student.settings.streams import (
    CaptionPacking,
    LoaderSettings,
    MixtureSettings,
    PromptMix,
    StreamSettings,
    check_ratios,
)

ProbeNouns = Literal["auto", "excluded", "asked"]

__all__ = [
    "AugmentSettings",
    "CaptionPacking",
    "HardNegatives",
    "LoaderSettings",
    "MixtureSettings",
    "ProbeNouns",
    "PartsStart",
    "PromptMix",
    "StreamSettings",
    "TrainSettings",
]


class HardNegatives(Settings):
    """How phrase lists and captions of gold are varied, so that every word of a phrase has to be read."""

    attributes: tuple[tuple[str, ...], ...] = Field(
        (), description="groups of words that exclude each other, e.g. colours, then textures"
    )
    other_attribute: float = Field(
        0.5, ge=0, le=1, description="chance per phrase of 'blue circle' for a red circle"
    )
    other_noun: float = Field(0.5, ge=0, le=1, description="chance per phrase of 'red star' for a red circle")
    unknown_noun: float = Field(
        0.35, ge=0, le=1, description="chance that a phrase's noun becomes the unknown token"
    )
    unknown_negative: float = Field(
        0.35, ge=0, le=1, description="chance per phrase of 'blue [UNK]' with nothing blue"
    )
    drop_attribute: float = Field(
        0.25, ge=0, le=1, description="chance that a phrase loses one attribute word"
    )
    caption_unknown_noun: float = Field(0.3, ge=0, le=1, description="the same for phrases of a gold caption")

    @model_validator(mode="after")
    def _groups_offer_a_choice(self) -> HardNegatives:
        for group in self.attributes:
            if len(set(group)) < 2:
                raise ValueError(
                    f"the attribute group {list(group)} has no two words: one of a group is changed for another of it"
                )
        return self


class AugmentSettings(Settings):
    """What is done to an image; its boxes and its caption follow."""

    flip: float = Field(
        0.5, ge=0, le=1, description="chance of a mirror image; left and right swap in the text"
    )
    zoom: float = Field(0.2, ge=0, lt=1, description="scale is drawn from [1 - zoom, 1 + zoom]")
    shift: float = Field(
        0.12, ge=0, lt=1, description="shift is drawn from [-shift, shift] of the side, both ways"
    )
    min_visible: float = Field(
        0.4, ge=0, le=1, description="a box with less of its area left is ignored, not learned"
    )
    scales: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="shorter sides in pixels, one drawn for each image; none: the model's own"
    )


class PartsStart(Settings):
    """A start whose backbone and text encoder are pretrained apart; the rest begins with the authors' random values."""

    swin: str = Field(description="directory of a Swin (config.json, model.safetensors)")
    bert: str = Field(description="directory of a BERT with its tokenizer")
    config: dict[str, bool | int | float | str] = Field(
        default_factory=dict, description="fields of GlipConfig that differ from GLIP-T, e.g. num_blocks: 8"
    )
    processor: dict[str, int | str] = Field(
        default_factory=dict, description="shorter_side, longer_side, max_tokens where not the authors'"
    )


class TrainSettings(LearningSettings, RunningSettings):
    """A training run, whole. Equal settings and data give equal weights on one CPU type with one thread."""

    start: str | PartsStart = Field(
        description="directory of the model to start from, or {swin: DIR, bert: DIR}: its parts as Hugging Face has "
        "them"
    )
    streams: tuple[StreamSettings, ...] = Field(min_length=1)
    mixture: MixtureSettings = Field(default_factory=MixtureSettings)
    loader: LoaderSettings = Field(default_factory=LoaderSettings)
    probe_nouns: ProbeNouns = Field(
        "auto",
        description="nouns that decoys are drawn from (docs/decoys.md): excluded, never drawn as negatives; asked, "
        "drawn as any other; auto: excluded where a stream is a view with decoys",
    )
    hard_negatives: HardNegatives = Field(default_factory=HardNegatives)
    augment: AugmentSettings = Field(default_factory=AugmentSettings)
    tuning: Literal["full", "linear", "prompt", "language"] = Field(
        "full",
        description="what learns; linear: the heads, prompt: an offset to the tokens of tuning_prompt, language: the "
        "text encoder",
    )
    tuning_prompt: str | None = Field(
        None,
        description="the one prompt of tuning prompt: nouns in a fixed order, 'cat. traffic light. dog'; every stream "
        "then has the prompt mix detection: 1",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> TrainSettings:
        check_ratios(self.streams, self.mixture)
        if "://" in self.out:
            raise ValueError(
                f"out {self.out!r} is a URL: a training writes to a folder; copy the model from there"
            )
        if (self.tuning == "prompt") != (self.tuning_prompt is not None):
            raise ValueError("tuning prompt and tuning_prompt belong together: give both or neither")
        if self.tuning_prompt is not None and any(stream.prompts.detection < 1 for stream in self.streams):
            raise ValueError(
                "tuning prompt asks one detection prompt: set prompts detection: 1 in every stream"
            )
        nouns = [] if self.tuning_prompt is None else self.tuning_prompt.split(SEPARATOR)
        if len(set(nouns)) < len(nouns) or not all(re.search(r"\w", noun) for noun in nouns):
            raise ValueError(f"tuning_prompt {self.tuning_prompt!r}: expected different nouns parted by '. '")
        if self.augment.flip and SIDES.search(self.tuning_prompt or ""):
            raise ValueError(
                "tuning_prompt says left or right, which a mirror image turns round: set augment flip: 0"
            )
        if self.batch_size % (self.workers * self.accumulate):
            raise ValueError(
                f"batch_size {self.batch_size} is no multiple of workers {self.workers} x accumulate {self.accumulate}"
            )
        if self.checkpoint_every % self.log_every:
            raise ValueError(
                f"checkpoint_every {self.checkpoint_every} must be a multiple of log_every {self.log_every}: a run "
                "that resumes starts a new line of the log"
            )
        return self
