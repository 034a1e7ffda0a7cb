"""The sections `input`, `output` and `run` of a job: what the engine reads, where it writes and how it runs.

`run` and `output` enter neither a fingerprint nor the job's digest, because they change no label.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from schemas.settings import CompatibleSettings, LegacyValue, Settings

MAX_BATCH_SIZE = 4096  # batches are padded with blanks, so a mistyped size would exhaust the memory
CAPTION_TABLES = (".csv", ".tsv", ".jsonl")


class StorageSettings(Settings):
    """How to reach a bucket. Secrets stay in the environment or in the named profile."""

    endpoint_url: str | None = Field(None, description="S3-compatible endpoint, if it is not AWS")
    profile: str | None = Field(None, description="named profile of the AWS configuration")

    @field_validator("endpoint_url")
    @classmethod
    def _check_endpoint_url(cls, url: str | None) -> str | None:
        if url is not None and (not url.startswith(("http://", "https://")) or "@" in url or "?" in url):
            raise ValueError(
                "expected http(s)://host:port without credentials; set credentials in the environment"
            )
        return url


class InputSettings(CompatibleSettings):
    """Which shards to read, and how to read a sample from them."""

    format: Literal["webdataset", "parquet", "folder"] = Field(
        "webdataset",
        description="uncompressed tar shards, Parquet files with inline image bytes, or folders of image files: each "
        "folder with images is a shard, also folders inside the named ones",
    )
    urls: tuple[str, ...] = Field(
        min_length=1,
        description="shards: paths or file://, s3://, gs:// URLs with {00..99}, {a,b}, * and ?; "
        "@FILE means the lines of a file",
    )
    only: str | None = Field(
        None,
        min_length=1,
        description="label only these samples: a text file of keys, or Parquet with a column key and optionally shard",
    )
    image: tuple[str, ...] = Field(
        ("jpg", "jpeg", "png", "webp"),
        min_length=1,
        description="suffixes (tar, folder) or column names (Parquet) of the image, first match wins",
    )
    caption: str = Field(
        "txt",
        description="`txt` or another suffix (tar, folder), `json:FIELD` (tar), or a column name (Parquet, `captions`: "
        "txt, then caption)",
    )
    captions: Annotated[str | None, LegacyValue()] = Field(
        None,
        description="name of a .csv, .tsv or .jsonl file in each folder, with a row per image; none: each image has a "
        "text file of its own name",
    )
    file_name: Annotated[str, LegacyValue()] = Field(
        "file_name", min_length=1, description="column of `captions` with the name of the image file"
    )
    phrases: Annotated[tuple[str, ...], LegacyValue()] = Field(
        (),
        description="asked of every image in place of a caption; taken from `phrases.given`, so leave it out",
    )
    spans: str | None = Field(
        None,
        description="where the input has phrases as spans [[begin, end], ...] of the caption: `json:FIELD`, or a "
        "column of lists of whole numbers (Parquet, .jsonl)",
    )
    keep: tuple[str, ...] = Field((), description="json fields or columns that are copied to `meta`")
    unit_samples: int = Field(
        512, ge=1, le=1000, description="samples per unit of work, of retry and of commit"
    )
    storage: StorageSettings | None = Field(None, description="how to reach the input bucket")

    @model_validator(mode="after")
    def _check_caption(self) -> InputSettings:
        if self.format == "parquet" and self.caption.startswith("json:"):
            raise ValueError(
                "input.caption: a Parquet file has columns; name the caption column, not json:FIELD"
            )
        if self.format == "folder" and self.caption.startswith("json:"):
            raise ValueError(
                f"input.caption is {self.caption!r}; expected the suffix of text files next to the images, or a column "
                "of input.captions"
            )
        if self.caption in ("", "json:"):
            raise ValueError("input.caption: expected txt, json:FIELD or a column name")
        return self

    @model_validator(mode="after")
    def _check_spans(self) -> InputSettings:
        in_json = self.spans is not None and self.spans.startswith("json:")
        if self.spans in ("", "json:") or (self.spans and in_json != (self.format == "webdataset")):
            expected = "json:FIELD" if self.format == "webdataset" else "the name of a column"
            raise ValueError(f"input.spans is {self.spans!r}; expected {expected}")
        return self

    @model_validator(mode="after")
    def _check_folder(self) -> InputSettings:
        named = {"captions": self.captions, "phrases": self.phrases}
        if self.format != "folder" and (wrong := next((name for name in named if named[name]), None)):
            raise ValueError(
                f"input.{wrong} is {named[wrong]!r}; it needs input.format: folder; leave it out"
            )
        if self.captions is not None and not _is_table_name(self.captions):
            raise ValueError(
                f"input.captions is {self.captions!r}; expected the name of a file in each folder, not a path, that "
                f"ends in {', '.join(CAPTION_TABLES)}"
            )
        if self.captions is None and self.file_name != "file_name":
            raise ValueError(
                f"input.file_name is {self.file_name!r}; it is a column of input.captions; set that, too"
            )
        if self.format == "folder":
            self._check_columns()
        return self

    def _check_columns(self) -> None:
        """Raise ValueError for settings that name columns of a table that is not read or has no such columns."""
        has_table = self.captions is not None and not self.phrases
        if self.keep and not has_table:
            raise ValueError(
                f"input.keep is {list(self.keep)}; it names columns of input.captions; set that, too"
            )
        if self.spans is not None and not (has_table and str(self.captions).endswith(".jsonl")):
            raise ValueError(
                f"input.spans is {self.spans!r}; in a folder it names a column of input.captions, a .jsonl file"
            )

    def reading(self) -> ReadingSettings:
        """Return the settings that decide how bytes become samples, without locations and unit sizes.

        Suffixes are converted to lower case without a dot. Names of columns stay unchanged.
        """
        image, caption, captions, file_name = self.image, self.caption, self.captions, self.file_name
        if self.format != "parquet":
            image = tuple(map(_suffix, image))
        if self.phrases:  # no caption is read
            caption, captions, file_name = "txt", None, "file_name"
        elif self.format != "parquet" and captions is None and not caption.startswith("json:"):
            caption = _suffix(caption)
        return ReadingSettings(
            format=self.format,
            image=image,
            caption=caption,
            keep=tuple(sorted(set(self.keep))),
            spans=self.spans,
            captions=captions,
            file_name=file_name,
            phrases=self.phrases,
        )


def _suffix(name: str) -> str:
    return name.lower().removeprefix(".")


def _is_table_name(name: str) -> bool:
    return name.lower().endswith(CAPTION_TABLES) and "/" not in name and not name.startswith(".")


class ReadingSettings(CompatibleSettings):
    """The part of the input settings that a unit's fingerprint covers."""

    format: Literal["webdataset", "parquet", "folder"] = Field(description="webdataset, parquet or folder")
    image: tuple[str, ...] = Field(description="image suffixes or columns, in order")
    caption: str = Field(description="suffix, field or column of the caption")
    keep: tuple[str, ...] = Field(description="fields that are copied to `meta`")
    spans: str | None = Field(
        None, description="field or column of the input's spans; enters the digest only if set"
    )
    captions: Annotated[str | None, LegacyValue()] = Field(
        None, description="table of captions in each folder"
    )
    file_name: Annotated[str, LegacyValue()] = Field("file_name", description="column of image names in it")
    phrases: Annotated[tuple[str, ...], LegacyValue()] = Field((), description="asked in place of a caption")

    def identity(self) -> dict[str, object]:
        """Return the values that a digest covers, without `spans` if it is not set, as before `spans` existed."""
        values = super().identity()
        return {name: value for name, value in values.items() if name != "spans" or value is not None}


class OutputSettings(Settings):
    """Where to write evidence."""

    url: str = Field(description="a folder or bucket prefix; file, s3 and gs")
    storage: StorageSettings | None = Field(None, description="how to reach the output bucket")


class ActorSettings(Settings):
    """The number of teacher actors."""

    min: int = Field(1, ge=1, description="start work when this many actors are placed")
    max: int = Field(1, ge=1, description="request no more than this")

    @model_validator(mode="after")
    def _check_order(self) -> ActorSettings:
        if self.max < self.min:
            raise ValueError(f"run.actors: min {self.min} is above max {self.max}")
        return self


class RunSettings(Settings):
    """How to run the work; nothing here changes a label, except that `batch_size` may change rounding."""

    executor: Literal["ray", "local"] = Field("ray", description="a Ray cluster, or only this process")
    actors: ActorSettings = Field(ActorSettings(), description="teacher actors")
    gpus_per_actor: float = Field(0, ge=0, description="GPUs per actor; a fraction shares one GPU")
    cpus_per_actor: float = Field(1, ge=0, description="CPUs per actor")
    batch_size: int | Literal["auto"] = Field(
        16,
        description="rows per forward pass; smaller batches are padded with blanks. auto: 1 on a CPU; on a GPU 64, "
        "halved for good whenever its memory is too small",
    )
    address: str | None = Field(
        None,
        description="address of a running Ray cluster; default: RAY_ADDRESS, otherwise a new local cluster",
    )
    allow_unauthenticated: bool = Field(
        False,
        description="allow a cluster without token authentication, where anyone who reaches it can run code",
    )
    single_writer: bool = Field(
        False,
        description="accept a store that ignores conditional writes; then only one run at a time may use the output",
    )
    placement_timeout_s: float = Field(
        60, gt=0, description="fail if min actors are not placed within this time"
    )
    prepare_threads: int = Field(
        1,
        ge=1,
        le=64,
        description="threads of an actor that decode images; they change neither order nor rows",
    )
    stuck_after_s: float = Field(
        300, gt=0, description="an actor without progress for this long is replaced, and its unit is isolated"
    )
    load_timeout_s: float = Field(
        600, gt=0, description="an actor whose teacher is not loaded within this time is replaced"
    )
    sample_timeout_s: float = Field(
        120, gt=0, description="an isolated sample that takes longer is rejected as TIMEOUT"
    )
    memory_limit_gb: float | None = Field(
        None,
        gt=0,
        description="a process above this resident size is ended; an isolated sample is then rejected as OOM",
    )
    max_rejected: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of rejected samples above which a run ends with exit code 3, if it has at least 100 samples "
        "or all were rejected",
    )
    grace_s: float = Field(
        25, gt=0, description="after SIGTERM, time that running units have to finish before they are stopped"
    )

    @field_validator("batch_size", mode="before")
    @classmethod
    def _check_batch_size(cls, value: object) -> object:
        is_number = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_BATCH_SIZE
        if not is_number and value != "auto":
            raise ValueError(f"expected a whole number from 1 to {MAX_BATCH_SIZE}, or auto")
        return value
