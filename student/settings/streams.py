"""What a stream of examples is, how streams are mixed and how batches are made ahead. Imports no heavy library."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, model_validator

from engine.settings import StorageSettings
from schemas.settings import Settings


class PromptMix(Settings):
    """How an image of a stream is asked about. Shares must add up to 1."""

    detection: float = Field(
        0.3, ge=0, le=1, description="head nouns of the image and absent nouns: 'cat. dog. car'"
    )
    phrase_list: float = Field(
        0.5, ge=0, le=1, description="phrases with hard negatives; needs exhaustive gold"
    )
    caption: float = Field(0.2, ge=0, le=1, description="the caption as it stands")

    @model_validator(mode="after")
    def _adds_up(self) -> PromptMix:
        total = self.detection + self.phrase_list + self.caption
        if abs(total - 1) > 1e-6:
            raise ValueError(f"detection + phrase_list + caption is {total:g}, expected 1")
        return self


class CaptionPacking(Settings):
    """Captions of other images in a caption prompt. GLIP's authors: most 20, none 0.4, full 0.5."""

    most: int = Field(0, ge=0, description="most captions of other images; 0: the caption stands alone")
    none: float = Field(0.4, ge=0, le=1, description="chance of none of them")
    full: float = Field(
        0.5, ge=0, le=1, description="chance, else, of the most rather than of any number below it"
    )


class StreamSettings(Settings):
    """One source of images and how its slots of a batch are filled."""

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
        description="after so many times its images the stream is left out, its share dealt to the others",
    )
    max_samples: int | None = Field(None, ge=1, description="the same, as a number of samples")
    shuffle_window: int = Field(
        65_536,
        ge=1,
        description="rows of a larger view are read as they are needed and shuffled among about so many; a smaller "
        "view stays in memory and is shuffled whole",
    )
    storage: StorageSettings | None = Field(
        None, description="how the view's and the images' bucket is reached"
    )
    prompts: PromptMix = Field(default_factory=PromptMix)
    weight: float = Field(1.0, ge=0, description="multiplies the weight of every region of the stream")
    negatives_min: int = Field(0, ge=0, description="fewest absent nouns in a detection prompt")
    negatives_max: int = Field(15, ge=0, description="most absent nouns in a detection prompt")
    negatives_full: float = Field(
        0.0,
        ge=0,
        le=1,
        description="chance of negatives_max of them instead of a number drawn evenly (GLIP's authors: 1 to 85, 0.5)",
    )
    packing: CaptionPacking = Field(default_factory=CaptionPacking)
    negatives_power: float = Field(
        0.0,
        ge=0,
        le=1,
        description="a noun is drawn as negative in proportion to its count to this power; 0: evenly",
    )
    repeat_threshold: float = Field(
        0.0,
        ge=0,
        le=1,
        description="images whose rarest noun is in a smaller share f are repeated sqrt(threshold/f)",
    )
    roots: dict[str, str] = Field(
        default_factory=dict, description="re-bases pixel urls: {'s3://a/': '/mnt/a/'}"
    )

    @model_validator(mode="after")
    def _is_ordered(self) -> StreamSettings:
        if self.negatives_min > self.negatives_max:
            raise ValueError(
                f"negatives_min {self.negatives_min} is above negatives_max {self.negatives_max}"
            )
        return self


class MixtureSettings(Settings):
    """How the streams' shares come about where the streams do not say them."""

    temperature: float | None = Field(
        None, ge=1, description="shares in proportion to size^(1/T); 1: by size, large: evenly"
    )


class LoaderSettings(Settings):
    """How batches are made ahead. Nothing here changes a batch."""

    threads: int = Field(2, ge=1, description="threads that read, decode and resize images")
    processes: int = Field(
        0,
        ge=0,
        description="processes that make whole batches in the threads' place; each costs seconds to start and memory "
        "(and together up to 48 MiB of shared memory), "
        "and is worth it where images are so small that Python is what takes the time",
    )
    ahead: int = Field(4, ge=1, description="batches that are made before they are asked for")


def check_ratios(streams: Sequence[StreamSettings], mixture: MixtureSettings) -> None:
    """Raise ValueError unless the streams' shares are said in one way: share, per_epoch or the temperature."""
    shares = [stream.share for stream in streams]
    epochs = [stream.per_epoch for stream in streams]
    said = [any(v is not None for v in values) for values in (shares, epochs, [mixture.temperature])]
    if sum(said) > 1:
        raise ValueError("share, per_epoch and mixture.temperature exclude each other: give one of them")
    if mixture.temperature is not None:
        return
    values = epochs if said[1] else shares
    if None in values:
        raise ValueError(
            "give every stream a share (or every stream per_epoch, or mixture.temperature and neither)"
        )
    total = sum(value for value in values if value is not None)
    if not said[1] and abs(total - 1) > 1e-6:
        raise ValueError(f"the shares of the streams add up to {total:g}, expected 1")
