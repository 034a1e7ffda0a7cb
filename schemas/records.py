"""Records of samples, phrases and regions.

They are frozen pydantic models, used where data enters or leaves. Inside loops, rows are the typed dictionaries of
`schemas.rows` (a test compares records, rows and Arrow schemas).
Spans are half-open, in Unicode code points of the stored caption. Boxes are xyxy float pixels, half-open, in the
upright stored image.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

PhraseKind = Literal["chunk", "expression", "ngram", "given", "decoy"]
PhraseFate = Literal["positive", "unresolved", "absent"]
RegionFate = Literal["positive", "ignore", "class_only"]
Origin = Literal["human", "human_confirmed", "teacher", "student"]


class Record(BaseModel):
    """Base of every record: frozen, and unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Pixels(Record):
    """The location of the image bytes: a byte range, a whole file (no offset), or a cell of a Parquet file."""

    url: str
    offset: int | None = Field(None, ge=0, description="first byte of the image inside the file")
    length: int | None = Field(None, ge=0, description="bytes of the image inside the file")
    row_group: int | None = Field(None, ge=0)
    row: int | None = Field(None, ge=0, description="row inside the row group")
    column: str | None = Field(None, description="Parquet column of the image bytes")

    @model_validator(mode="after")
    def _check_location(self) -> Pixels:
        cell = (self.row_group, self.row, self.column)
        if any(part is not None for part in cell) and (None in cell or self.offset is not None):
            raise ValueError("pixels: a Parquet cell has row_group, row and column, and no offset")
        return self


class Phrase(Record):
    """A span of the caption, or a decoy (then begin and end are None)."""

    begin: int | None = Field(None, ge=0)
    end: int | None = Field(None, ge=0)
    text: str
    root: str = Field(description="lemma of the head noun")
    kind: PhraseKind = "chunk"
    groundable: bool = True
    truncated: bool = Field(False, description="the evidence cap cut this phrase's regions")

    @model_validator(mode="after")
    def _check_span(self) -> Phrase:
        if (self.begin is None) != (self.end is None) or (self.begin is None) != (self.kind == "decoy"):
            raise ValueError(f"phrase {self.text!r}: a decoy has no span and every other kind has one")
        if self.begin is not None and self.end is not None and self.end <= self.begin:
            raise ValueError(f"phrase {self.text!r}: span [{self.begin}, {self.end}) is empty")
        return self


class DroppedPhrase(Record):
    """A phrase that was found but not asked for; `code` is a phrase code of `schemas.codes`."""

    begin: int
    end: int
    text: str
    code: str


class Region(Record):
    """A box for a phrase: `phrase` is its index in the sample, `score` the teacher's raw score in 0..1."""

    phrase: int = Field(ge=0)
    x0: float
    y0: float
    x1: float
    y1: float
    score: float
    class_score: float | None = None
    quality: float | None = Field(None, description="centerness or objectness, if the teacher has one")
    pass_index: int = Field(0, ge=0, description="index of the sample's prompt that gave the region")


class Sample(Record):
    """One image with its caption and phrases: the input of a teacher."""

    unit: str
    shard: str
    index: int = Field(ge=0, description="position in the shard, from 0")
    key: str
    pixels: Pixels
    image_sha256: str = Field(description="of the stored bytes")
    caption: str
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    original_width: int | None = None
    original_height: int | None = None
    exif_orientation: int = Field(
        1, ge=1, le=8, description="EXIF orientation that was undone to make the image upright"
    )
    source_url: str | None = None
    source_sha256: str | None = None
    license: str | None = None
    meta: dict[str, JsonValue] = Field(default_factory=dict, description="the fields named in input.keep")
    phrases: tuple[Phrase, ...] = ()
    dropped_phrases: tuple[DroppedPhrase, ...] = ()


class Rejection(Record):
    """A sample that is not used, with its reason code."""

    unit: str
    index: int = Field(ge=0)
    key: str
    code: str
    detail: str = ""
