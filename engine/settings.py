"""What the engine reads, where it writes and how it runs: the `input`, `output` and `run` sections of a job.

`run` and `output` enter neither a fingerprint nor the job's digest: they change no label.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from schemas.settings import Settings

MAX_BATCH_SIZE = 4096  # a batch is filled up with blanks: without a bound a slip of the pen eats the memory


class StorageSettings(Settings):
    """How a bucket is reached. Secrets stay in the environment or in the named profile."""

    endpoint_url: str | None = Field(None, description="S3-compatible endpoint, where it is not AWS")
    profile: str | None = Field(None, description="named profile of the AWS configuration")

    @field_validator("endpoint_url")
    @classmethod
    def _holds_no_secret(cls, url: str | None) -> str | None:
        if url is not None and (not url.startswith(("http://", "https://")) or "@" in url or "?" in url):
            raise ValueError(
                "expected http(s)://host:port without credentials; they belong into the environment"
            )
        return url


class InputSettings(Settings):
    """Which shards to read, and how a sample is read from them."""

    format: Literal["webdataset", "parquet"] = Field(
        "webdataset", description="uncompressed tar shards, or Parquet files with inline image bytes"
    )
    urls: tuple[str, ...] = Field(
        min_length=1,
        description="shards: paths or file://, s3://, gs:// URLs with {00..99}, {a,b}, * and ?; "
        "@FILE stands for the lines of a file",
    )
    only: str | None = Field(
        None,
        min_length=1,
        description="label these samples alone: a text file of keys, or Parquet with a column key and maybe shard",
    )
    image: tuple[str, ...] = Field(
        ("jpg", "jpeg", "png", "webp"),
        min_length=1,
        description="member suffixes (tar) or column names (Parquet) of the image, first match wins",
    )
    caption: str = Field(
        "txt",
        description="`txt` or another member suffix, `json:FIELD`, or a column name (Parquet: txt, then caption)",
    )
    spans: str | None = Field(
        None,
        description="where phrases are given as spans [[begin, end], ...] of the caption: `json:FIELD`, or a column "
        "of lists of whole numbers (Parquet)",
    )
    keep: tuple[str, ...] = Field((), description="json fields or columns that are carried along in `meta`")
    unit_samples: int = Field(
        512, ge=1, le=1000, description="samples per unit of work, of retry and of commit"
    )
    storage: StorageSettings | None = Field(None, description="how the input bucket is reached")

    @model_validator(mode="after")
    def _caption_fits_format(self) -> InputSettings:
        if self.format == "parquet" and self.caption.startswith("json:"):
            raise ValueError(
                "input.caption: a Parquet file has columns; name the caption column, not json:FIELD"
            )
        if self.caption in ("", "json:"):
            raise ValueError("input.caption: expected txt, json:FIELD or a column name")
        return self

    @model_validator(mode="after")
    def _spans_fit_format(self) -> InputSettings:
        in_json = self.spans is not None and self.spans.startswith("json:")
        if self.spans in ("", "json:") or (self.spans and in_json != (self.format == "webdataset")):
            wanted = "json:FIELD" if self.format == "webdataset" else "the name of a column"
            raise ValueError(f"input.spans is {self.spans!r}; expected {wanted}")
        return self

    def reading(self) -> ReadingSettings:
        """What decides how bytes become samples: everything but where they lie and how they are cut.

        Suffixes of tar members are in lower case and without a dot; names of columns are as they stand.
        """
        image, caption = self.image, self.caption
        if self.format == "webdataset":
            image = tuple(map(_suffix, image))
            caption = caption if caption.startswith("json:") else _suffix(caption)
        return ReadingSettings(
            format=self.format,
            image=image,
            caption=caption,
            keep=tuple(sorted(set(self.keep))),
            spans=self.spans,
        )


def _suffix(name: str) -> str:
    return name.lower().removeprefix(".")


class ReadingSettings(Settings):
    """The part of the input settings that a unit's fingerprint covers."""

    format: str = Field(description="webdataset or parquet")
    image: tuple[str, ...] = Field(description="image suffixes or columns, in order")
    caption: str = Field(description="where the caption stands")
    keep: tuple[str, ...] = Field(description="fields carried along")
    spans: str | None = Field(None, description="where given spans stand; enters the digest only when named")

    def identity(self) -> dict[str, Any]:
        """What a digest covers: the settings, as they were before `spans` came where none are named."""
        return self.model_dump(mode="json", exclude={"spans"} if self.spans is None else None)


class OutputSettings(Settings):
    """Where evidence is written."""

    url: str = Field(description="a folder or bucket prefix; file, s3 and gs")
    storage: StorageSettings | None = Field(None, description="how the output bucket is reached")


class ActorSettings(Settings):
    """How many teacher actors share the work."""

    min: int = Field(1, ge=1, description="start work when so many actors are placed")
    max: int = Field(1, ge=1, description="ask for no more than this")

    @model_validator(mode="after")
    def _ordered(self) -> ActorSettings:
        if self.max < self.min:
            raise ValueError(f"run.actors: min {self.min} is above max {self.max}")
        return self


class RunSettings(Settings):
    """How the work is run; nothing here changes a label, `batch_size` only its rounding."""

    executor: Literal["ray", "local"] = Field("ray", description="a Ray cluster, or this process alone")
    actors: ActorSettings = Field(ActorSettings(), description="teacher actors")
    gpus_per_actor: float = Field(0, ge=0, description="GPUs per actor, a fraction shares one")
    cpus_per_actor: float = Field(1, ge=0, description="CPUs per actor")
    batch_size: int = Field(
        16, ge=1, le=MAX_BATCH_SIZE, description="rows per forward pass, always filled up with blanks"
    )
    address: str | None = Field(
        None, description="a running Ray cluster; default RAY_ADDRESS, then an own one"
    )
    allow_unauthenticated: bool = Field(
        False,
        description="work on a running cluster that asks for no token, where anybody who reaches it runs code",
    )
    single_writer: bool = Field(
        False,
        description="accept a store that ignores conditional writes; then no two runs may share the output",
    )
    placement_timeout_s: float = Field(60, gt=0, description="give up when min actors find no place by then")
    prepare_threads: int = Field(
        1, ge=1, le=64, description="threads of an actor that decode images; order and rows stay the same"
    )
    stuck_after_s: float = Field(
        300, gt=0, description="an actor without progress for so long is replaced and its unit isolated"
    )
    load_timeout_s: float = Field(600, gt=0, description="the same while the teacher is made")
    sample_timeout_s: float = Field(
        120, gt=0, description="an isolated sample that keeps its process for longer is rejected as TIMEOUT"
    )
    memory_limit_gb: float | None = Field(
        None,
        gt=0,
        description="a process above this resident size is ended; an isolated sample's fate is OOM",
    )
    max_rejected: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of rejected samples above which a run ends with exit 3, from 100 samples on or when all "
        "were rejected",
    )
    grace_s: float = Field(
        25, gt=0, description="after SIGTERM, running units may take so long before they are given up"
    )
