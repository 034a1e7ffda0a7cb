"""Settings of example streams, of their mixture and of prefetching. Imports no heavy library."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, model_validator

from engine.settings import StorageSettings
from schemas.settings import Settings


class PromptMix(Settings):
    """Shares of the three kinds of prompts. They must add up to 1."""

    detection: float = Field(
        0.3, ge=0, le=1, description="head nouns of the image and absent nouns: 'cat. dog. car'"
    )
    phrase_list: float = Field(
        0.5, ge=0, le=1, description="phrases with hard negatives; needs exhaustive gold"
    )
    caption: float = Field(0.2, ge=0, le=1, description="the caption itself")

    @model_validator(mode="after")
    def _check_sum(self) -> PromptMix:
        total = self.detection + self.phrase_list + self.caption
        if abs(total - 1) > 1e-6:
            raise ValueError(f"detection + phrase_list + caption is {total:g}, expected 1")
        return self


class CaptionPacking(Settings):
    """Captions of other images in a caption prompt. GLIP's authors: most 20, none 0.4, full 0.5."""

    most: int = Field(0, ge=0, description="upper bound on captions of other images; 0: no packing")
    none: float = Field(0.4, ge=0, le=1, description="chance of no other caption")
    full: float = Field(
        0.5, ge=0, le=1, description="otherwise: chance of `most` captions instead of a lower number"
    )


class StreamSettings(Settings):
    """One source of images and how it fills its slots of a batch."""

    url: str = Field(description="a view or gold folder (view.json)")
    share: float | None = Field(
        None, gt=0, le=1, description="share of all batch slots; the shares of a run add up to 1"
    )
    per_epoch: float | None = Field(
        None,
        gt=0,
        description="instead of share, in every stream: an epoch of the run takes this many times the stream's images",
    )
    max_epochs: float | None = Field(
        None,
        gt=0,
        description="limit of the stream in epochs; after it, the other streams take over its share",
    )
    max_samples: int | None = Field(None, ge=1, description="limit of the stream in samples")
    shuffle_window: int = Field(
        65_536,
        ge=1,
        description="rows of a larger view are read on demand and shuffled within a window of about this many rows; a "
        "smaller view stays in memory and is shuffled as a whole",
    )
    storage: StorageSettings | None = Field(
        None, description="access to the bucket of the view and its images"
    )
    prompts: PromptMix = Field(default_factory=PromptMix)
    weight: float = Field(1.0, ge=0, description="factor of the weight of every region of the stream")
    negatives_min: int = Field(0, ge=0, description="lower bound on absent nouns in a detection prompt")
    negatives_max: int = Field(15, ge=0, description="upper bound on absent nouns in a detection prompt")
    negatives_full: float = Field(
        0.0,
        ge=0,
        le=1,
        description="chance of negatives_max nouns instead of a uniformly drawn number (GLIP's authors: 1 to 85, 0.5)",
    )
    packing: CaptionPacking = Field(default_factory=CaptionPacking)
    negatives_power: float = Field(
        0.0,
        ge=0,
        le=1,
        description="a noun is drawn as negative in proportion to its count to this power; 0: uniformly",
    )
    repeat_threshold: float = Field(
        0.0,
        ge=0,
        le=1,
        description="images whose rarest noun is in a smaller share f of images are repeated sqrt(threshold/f) times",
    )
    roots: dict[str, str] = Field(
        default_factory=dict, description="replaces prefixes of pixel URLs: {'s3://a/': '/mnt/a/'}"
    )

    @model_validator(mode="after")
    def _check_negatives(self) -> StreamSettings:
        if self.negatives_min > self.negatives_max:
            raise ValueError(
                f"negatives_min ({self.negatives_min}) must be at most negatives_max ({self.negatives_max})"
            )
        return self


class MixtureSettings(Settings):
    """How shares are computed where the streams do not state them."""

    temperature: float | None = Field(
        None, ge=1, description="shares in proportion to size^(1/T); 1: by size, large T: equal shares"
    )


class LoaderSettings(Settings):
    """How batches are prefetched. No setting here changes a batch."""

    threads: int = Field(2, ge=1, description="threads that read, decode and resize images")
    processes: int = Field(
        0,
        ge=0,
        description="processes that build whole batches instead of the threads. Each costs seconds to start, memory, "
        "and all together up to 48 MiB of shared memory. Useful where images are so small that Python takes most of "
        "the time",
    )
    ahead: int = Field(
        4, ge=1, description="upper bound on batches built before the training step needs them"
    )


def check_ratios(streams: Sequence[StreamSettings], mixture: MixtureSettings) -> None:
    """Raise ValueError unless the shares are given in exactly one way: share, per_epoch or the temperature."""
    shares = [stream.share for stream in streams]
    epochs = [stream.per_epoch for stream in streams]
    used = [any(v is not None for v in values) for values in (shares, epochs, [mixture.temperature])]
    if sum(used) > 1:
        raise ValueError("share, per_epoch and mixture.temperature exclude each other: give one of them")
    if mixture.temperature is not None:
        return
    values = epochs if used[1] else shares
    if None in values:
        raise ValueError(
            "give every stream a share (or every stream per_epoch, or mixture.temperature and neither)"
        )
    total = sum(value for value in values if value is not None)
    if not used[1] and abs(total - 1) > 1e-6:
        raise ValueError(f"the shares of the streams add up to {total:g}, expected 1")
