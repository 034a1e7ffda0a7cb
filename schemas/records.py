"""The records that flow: sample, phrase, region, evidence row, view row.

Frozen pydantic models, used at the doors; inside loops rows are plain dictionaries of the same shape
(`schemas.arrow` holds the matching Arrow schemas, and a test keeps the two alike).
Spans are half-open, in Unicode code points of the stored caption. Boxes are xyxy float pixels, half-open, in the
upright stored image.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

PhraseKind = Literal["chunk", "expression", "ngram", "given", "decoy"]
PhraseFate = Literal["positive", "unresolved", "absent"]
RegionFate = Literal["positive", "ignore", "class_only"]
Origin = Literal["human", "human_confirmed", "teacher", "student"]


class Record(BaseModel):
    """Base of every record: frozen, and unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Pixels(Record):
    """Where the image bytes live. No offset: the whole file. Parquet: row group, row and column instead."""

    url: str
    offset: int | None = Field(None, ge=0, description="first byte of the image inside the file")
    length: int | None = Field(None, ge=0, description="bytes of the image inside the file")
    row_group: int | None = Field(None, ge=0)
    row: int | None = Field(None, ge=0, description="row inside the row group")
    column: str | None = Field(None, description="Parquet column of the image bytes")

    @model_validator(mode="after")
    def _names_one_place(self) -> Pixels:
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
    def _span_matches_kind(self) -> Phrase:
        if (self.begin is None) != (self.end is None) or (self.begin is None) != (self.kind == "decoy"):
            raise ValueError(f"phrase {self.text!r}: a decoy has no span and every other kind has one")
        if self.begin is not None and self.end is not None and self.end <= self.begin:
            raise ValueError(f"phrase {self.text!r}: span [{self.begin}, {self.end}) is empty")
        return self


class DroppedPhrase(Record):
    """A phrase that was found and not asked for; `code` is a phrase code of `schemas.codes`."""

    begin: int
    end: int
    text: str
    code: str


class Region(Record):
    """A box for a phrase. `phrase` is the phrase's index in its sample; `score` is the teacher's raw score, 0..1."""

    phrase: int = Field(ge=0)
    x0: float
    y0: float
    x1: float
    y1: float
    score: float
    class_score: float | None = None
    quality: float | None = Field(None, description="centerness or objectness, where the teacher has one")
    pass_index: int = Field(0, ge=0, description="which prompt of the sample gave the region")


class Sample(Record):
    """One image with its caption, as the reader and the phrase finder leave it for the teacher."""

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
    exif_orientation: int = Field(1, ge=1, le=8, description="the turn that was applied to make it upright")
    source_url: str | None = None
    source_sha256: str | None = None
    license: str | None = None
    meta: dict[str, Any] = Field(default_factory=dict, description="the columns named in input.keep")
    phrases: tuple[Phrase, ...] = ()
    dropped_phrases: tuple[DroppedPhrase, ...] = ()


class Rejection(Record):
    """A sample that is not used, and why."""

    unit: str
    index: int = Field(ge=0)
    key: str
    code: str
    detail: str = ""


class ViewPhrase(Phrase):
    """A phrase with what the policy believes of it."""

    fate: PhraseFate


class ViewRegion(Region):
    """A region that survived a policy, or a human box."""

    p_correct: float | None = None
    q_value: float | None = None
    weight: float = Field(1.0, ge=0)
    fate: RegionFate = "positive"
    origin: Origin = "teacher"
