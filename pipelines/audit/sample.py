"""The sample file: which regions of which view are reviewed, and with what probability each was drawn.

A file names the digest of its view and of itself. It is written once, and a file with a wrong digest is refused.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import Field, ValidationError, model_validator

from engine.storage.local_files import create_file
from pipelines.labels.photo import PhotoRow
from schemas.digests import digest_of
from schemas.errors import ConflictError, NotFoundError
from schemas.ledger import FORMAT_VERSION
from schemas.records import Pixels, Record
from schemas.spans import check_span


class Stratum(Record):
    """One cell of the view: a group of phrases within a range of scores, half-open `[low, high)`."""

    name: str
    group: str = Field(description="head, tail or whatever the groups were called; `all` without groups")
    low: float
    high: float = Field(description="the last stratum of a group includes its upper end")
    population: int = Field(ge=1, description="auditable regions of the view in this cell")
    drawn: int = Field(ge=1)

    @model_validator(mode="after")
    def _check_drawn(self) -> Stratum:
        if self.drawn > self.population:
            raise ValueError(f"stratum {self.name}: {self.drawn} drawn of {self.population}")
        return self


class SampledRegion(Record):
    """One region to review: a box, and the phrase that it should show."""

    item: str = Field(
        description="names the region: sample, phrase and box; the same in every sample it is drawn for"
    )
    stratum: str
    inclusion_probability: float = Field(gt=0, le=1)
    unit: str
    shard: str
    index: int
    key: str
    pixels: Pixels
    image_sha256: str
    width: int
    height: int
    caption: str
    phrase: int = Field(ge=0, description="index of the phrase in its row")
    begin: int
    end: int
    text: str
    root: str
    box: tuple[float, float, float, float] = Field(
        description="xyxy half-open pixels of the upright stored image"
    )
    score: float

    @model_validator(mode="after")
    def _check_span(self) -> SampledRegion:
        check_span(self.caption, self.begin, self.end, self.text)
        return self

    def photo_row(self) -> PhotoRow:
        """Return the columns that identify its image."""
        where = self.pixels
        return {
            "key": self.key,
            "pixels": {
                "url": where.url,
                "offset": where.offset,
                "length": where.length,
                "row_group": where.row_group,
                "row": where.row,
                "column": where.column,
            },
            "image_sha256": self.image_sha256,
            "width": self.width,
            "height": self.height,
        }


class AuditSample(Record):
    """A sample of one view, in the order in which it is shown (shuffled, so strata are mixed)."""

    format_version: str = FORMAT_VERSION
    view: str = Field(description="where the view was read; no part of the digest, views may move")
    view_digest: str
    seed: int
    score_edges: tuple[float, ...] = Field(description="inner borders between the score bins")
    strata: tuple[Stratum, ...]
    excluded: dict[str, int] = Field(description="regions that are not part of the population, by reason")
    regions: tuple[SampledRegion, ...]
    digest: str = ""

    @model_validator(mode="after")
    def _check_sum(self) -> AuditSample:
        drawn = {stratum.name: stratum.drawn for stratum in self.strata}
        found = dict.fromkeys(drawn, 0)
        for region in self.regions:
            found[region.stratum] = found.get(region.stratum, 0) + 1
        if found != drawn:
            raise ValueError(f"strata say {drawn} regions were drawn, the list has {found}")
        if len({region.item for region in self.regions}) != len(self.regions):
            raise ValueError("the sample names a region twice")
        return self

    def seal(self) -> AuditSample:
        """Return the same sample with its own digest filled in."""
        return self.model_copy(update={"digest": self._content_digest()})

    def check(self) -> None:
        """Raise ConflictError unless the content has the digest that is written in it."""
        if self._content_digest() != self.digest:
            raise ConflictError(
                f"the sample's content has digest {self._content_digest()}, the file says {self.digest}: "
                "it was changed after it was drawn; draw it again with the same seed"
            )

    def _content_digest(self) -> str:
        return digest_of(self.model_dump(mode="json", exclude={"digest", "view"}))


def write_sample(sample: AuditSample, path: str | Path) -> None:
    """Write the sample once. The same sample again changes nothing; another one raises ConflictError."""
    target = Path(path)
    text = json.dumps(sample.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    try:
        create_file(str(target.absolute()), text.encode())
    except FileExistsError:
        there = read_sample(target)
        if there.digest != sample.digest:
            raise ConflictError(
                f"{target} already has the sample {there.digest}, not {sample.digest}: choose another file"
            ) from None


def read_sample(path: str | Path) -> AuditSample:
    """Read the sample of a file. Raises NotFoundError; ConflictError for a file that is not a sample or was changed."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFoundError(
            f"{path}: no such sample file; draw one with `groundswell audit sample`"
        ) from None
    try:
        sample = AuditSample.model_validate_json(text)
    except ValidationError as error:
        raise ConflictError(f"{path} is not an audit sample: {error.errors()[0]['msg']}") from error
    sample.check()
    return sample
