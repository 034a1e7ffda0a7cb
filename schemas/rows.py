"""Rows of the tables as typed dictionaries: evidence, view, rejections.

Rows come from three places only: `rows_of` reads them from a table, the engine's `evidence_row` makes evidence, and
`view_row` of the compiler makes views. A field may be None only if `schemas.arrow.NULLABLE` names it.
Spans are half-open, in Unicode code points of the stored caption. Boxes are xyxy float pixels, half-open, in the
upright stored image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict, TypeVar, cast

from schemas.records import Origin, PhraseFate, PhraseKind, RegionFate

if TYPE_CHECKING:
    import pyarrow as pa


class PixelsRow(TypedDict):
    """Where the image bytes are: a byte range of a file, or a cell of a Parquet file."""

    url: str
    offset: int | None
    length: int | None
    row_group: int | None
    row: int | None
    column: str | None


class PhraseRow(TypedDict):
    """A span of the caption, or a decoy (then begin and end are None)."""

    begin: int | None
    end: int | None
    text: str
    root: str
    kind: PhraseKind
    groundable: bool
    truncated: bool


class ViewPhraseRow(PhraseRow):
    """A phrase with its fate under the policy."""

    fate: PhraseFate


class DroppedPhraseRow(TypedDict):
    """A phrase that the teacher was not asked for, with its reason code."""

    begin: int
    end: int
    text: str
    code: str


class RegionRow(TypedDict):
    """A box of the teacher for one phrase, named by the phrase's index in its row."""

    phrase: int
    x0: float
    y0: float
    x1: float
    y1: float
    score: float
    class_score: float | None
    quality: float | None
    pass_index: int


class ViewRegionRow(RegionRow):
    """A box that a policy kept or ignored, or a human box."""

    p_correct: float | None
    q_value: float | None
    weight: float
    fate: RegionFate
    origin: Origin


class SampleRow(TypedDict):
    """The columns that evidence and views share."""

    unit: str
    shard: str
    index: int
    key: str
    pixels: PixelsRow
    image_sha256: str
    source_url: str | None
    source_sha256: str | None
    license: str | None
    meta: str
    width: int
    height: int
    original_width: int | None
    original_height: int | None
    exif_orientation: int
    caption: str


class EvidenceRow(SampleRow):
    """A labeled sample: every region of the teacher above the floor."""

    phrases: list[PhraseRow]
    dropped_phrases: list[DroppedPhraseRow]
    regions: list[RegionRow]


class ViewRow(SampleRow):
    """A training sample: phrases and regions with their fates. Gold has the same form."""

    phrases: list[ViewPhraseRow]
    dropped_phrases: list[DroppedPhraseRow]
    regions: list[ViewRegionRow]


class RejectionRow(TypedDict):
    """A sample that is not used, with its reason code."""

    unit: str
    index: int
    key: str
    code: str
    detail: str


Row = TypeVar("Row", EvidenceRow, ViewRow, RejectionRow)


def rows_of(table: pa.Table | pa.RecordBatch, form: type[Row]) -> list[Row]:
    """Return the rows of a table that has the schema of `form`.

    The cast is safe for tables read with `schemas.arrow`; it checks nothing.
    """
    return cast(list[Row], table.to_pylist())
