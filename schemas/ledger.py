"""Records of the ledger: shard, plan, commit, snapshot. They are JSON objects, written once and never changed.

Conservation (`in = labelled + empty + rejected`) is checked when a record is constructed, so a record that does not
add up cannot exist.
"""

from __future__ import annotations

import hashlib
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, model_validator

from schemas.digests import digest_of
from schemas.records import Record

FORMAT_VERSION = "1.0"
COMMIT_FORMAT = "1.1"  # 1.1: a data file's path names the fingerprint too
SNAPSHOT_FORMAT = "2.0"  # 2.0: entries are in segments, the digest is that of a set
KeyForm = Literal["plain", "exact"]
PLAIN_KEYS: KeyForm = "plain"
EXACT_KEYS: KeyForm = "exact"


def bare_url(url: str) -> str:
    """Return the URL without query and fragment: signatures and tokens are not part of an identity."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))


def unit_name(shard_url: str, first: int) -> str:
    """Return `sha256(shard URL without query)[:16]-<first sample, 8 digits>`; no list position enters."""
    return f"{hashlib.sha256(bare_url(shard_url).encode()).hexdigest()[:16]}-{first:08d}"


def _is_none(value: object) -> bool:
    """Return whether a field that was added later is omitted from the written record."""
    return value is None


class SampleCounts(Record):
    """Counts of the samples of a unit or of a whole output, by outcome."""

    samples_in: int = Field(ge=0)
    labelled: int = Field(ge=0, description="samples with at least one region")
    empty: int = Field(ge=0, description="samples that the teacher was asked about and that have no region")
    rejected: dict[str, int] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_sum(self) -> SampleCounts:
        out = self.labelled + self.empty + sum(self.rejected.values())
        if out != self.samples_in:
            raise ValueError(
                f"{self.samples_in} samples in, {self.labelled} labeled, {self.empty} empty, "
                f"{sum(self.rejected.values())} rejected: {self.samples_in - out} unaccounted for"
            )
        return self

    def plus(self, other: SampleCounts) -> SampleCounts:
        """Return the sums of two counts."""
        codes = sorted(self.rejected.keys() | other.rejected.keys())
        return SampleCounts(
            samples_in=self.samples_in + other.samples_in,
            labelled=self.labelled + other.labelled,
            empty=self.empty + other.empty,
            rejected={code: self.rejected.get(code, 0) + other.rejected.get(code, 0) for code in codes},
        )


NO_SAMPLES = SampleCounts(samples_in=0, labelled=0, empty=0)


class ShardFacts(Record):
    """Facts about an input file that was fetched once and read to its end."""

    format_version: str = FORMAT_VERSION
    url: str
    size_bytes: int = Field(ge=0)
    version: str = Field(
        description="ETag, or modification time and inode; another value means that the file changed"
    )
    sha256: str
    samples: int = Field(ge=0)
    keys: str | None = Field(
        None,
        exclude_if=_is_none,
        description="of a Parquet shard: plain, as version 2 of the reader read them, or exact, if it did not; "
        "none: a tar, or recorded by an earlier version",
    )


class Unit(Record):
    """A slice [first, first + count) of a shard: the unit of work, of retry and of commit."""

    name: str
    shard: str
    input_digest: str
    first: int = Field(ge=0)
    count: int = Field(ge=0)


class FingerprintParts(Record):
    """Everything whose change makes a unit's evidence stale (docs/architecture.md)."""

    input: str
    first: int
    count: int
    reading: str
    teacher: str
    phrases: str
    decoys: str
    evidence: str
    schema_version: str
    selection: str | None = Field(None, description="the keys asked for in this shard; none: all of them")
    keys: str | None = Field(
        None,
        exclude_if=_is_none,
        description="exact: earlier versions gave wrong keys to samples of this shard; else none",
    )

    def fingerprint(self) -> str:
        """Return `sha256:<hex>` over all parts that are not None."""
        return digest_of(self.model_dump(mode="json", exclude_none=True))


class DataFile(Record):
    """A content-addressed object of a commit; `path` is relative to the output's root."""

    path: str
    size_bytes: int = Field(ge=0)
    sha256: str
    rows: int = Field(ge=0)


class CommitRecord(Record):
    """The record that a unit is done."""

    format_version: str = COMMIT_FORMAT
    unit: Unit
    fingerprint: str
    parts: FingerprintParts
    counts: SampleCounts
    regions: int = Field(ge=0)
    evidence: DataFile
    rejections: DataFile | None = None
    rows_digest: str = Field(description="over the evidence and rejection rows in index order")
    quarantined: bool = Field(False, description="has a sample that crashed, hung or ran out of memory")

    @model_validator(mode="after")
    def _check_consistency(self) -> CommitRecord:
        if self.counts.samples_in != self.unit.count:
            raise ValueError(
                f"{self.unit.name}: {self.unit.count} samples in the unit, {self.counts.samples_in} accounted for"
            )
        if self.parts.fingerprint() != self.fingerprint:
            raise ValueError(f"{self.unit.name}: the fingerprint is not that of its parts")
        return self


class EpochRecord(Record):
    """The claim of an epoch by a driver or a clean-up, so that an older one detects that it was superseded."""

    format_version: str = FORMAT_VERSION
    number: int = Field(ge=1)
    purpose: Literal["label", "clean"]
    job: str | None = Field(None, description="job digest; none for a clean-up")
    holder: str = Field(description="the claimant: host, process and a nonce, for people and for comparison")


class AttemptRecord(Record):
    """A worker began a unit. It does not say how the attempt ended, and nothing is decided by it."""

    format_version: str = FORMAT_VERSION
    unit: str
    fingerprint: str
    number: int = Field(ge=1)
    epoch: int = Field(ge=0, description="of the driver that dispatched the unit; 0 if it claimed none")
    worker: str = Field(description="host and process")
    nonce: str = Field(description="distinguishes this attempt's record from others")


class FailedUnit(Record):
    """A unit or shard that could not be finished, with the reason."""

    unit: str
    shard: str
    code: str
    detail: str


class SnapshotEntry(Record):
    """One committed unit, as a snapshot lists it."""

    unit: str
    fingerprint: str
    shard: str
    counts: SampleCounts
    regions: int
    evidence: DataFile
    rejections: DataFile | None
    rows_digest: str
    quarantined: bool = False


class Totals(Record):
    """Sums over committed units."""

    units: int = Field(0, ge=0)
    samples: SampleCounts = NO_SAMPLES
    regions: int = Field(0, ge=0)
    quarantined: int = Field(
        0, ge=0, description="units with a sample that crashed, hung or ran out of memory"
    )

    def plus(self, other: Totals) -> Totals:
        """Return the sums of both."""
        return Totals(
            units=self.units + other.units,
            samples=self.samples.plus(other.samples),
            regions=self.regions + other.regions,
            quarantined=self.quarantined + other.quarantined,
        )


def totals_of(entry: SnapshotEntry) -> Totals:
    """Return the totals of one unit."""
    return Totals(units=1, samples=entry.counts, regions=entry.regions, quarantined=int(entry.quarantined))


class Segment(Record):
    """A file of snapshot entries in unit order, named by its content and never changed."""

    path: str
    size_bytes: int = Field(ge=0)
    sha256: str
    totals: Totals


class Snapshot(Record):
    """A numbered state of an output, which readers read. Its segments have an entry for each committed unit."""

    format_version: str = SNAPSHOT_FORMAT
    kind: Literal["evidence"] = "evidence"
    version: int = Field(ge=1)
    job_digest: str
    planned: int = Field(ge=0, description="units; a shard that was not read yet counts as one")
    totals: Totals
    digest: str = Field(description="over (unit, rows_digest) of all entries, as a set")
    digest_state: str = Field(description="the state whose sha256 is the digest, to continue from")
    segments: tuple[Segment, ...]
    failed_units: int = Field(0, ge=0)
    failed: tuple[FailedUnit, ...] = Field((), description="the first of the failed units by name")
    failed_rest: DataFile | None = Field(None, description="a file of the others, if there are many")

    @model_validator(mode="after")
    def _check_sums(self) -> Snapshot:
        total = Totals()
        for segment in self.segments:
            total = total.plus(segment.totals)
        if total != self.totals:
            raise ValueError(f"snapshot {self.version}: its totals are not those of its segments")
        rest = self.failed_rest.rows if self.failed_rest else 0
        if len(self.failed) + rest != self.failed_units:
            raise ValueError(f"snapshot {self.version}: {self.failed_units} failed units, not all listed")
        if self.totals.units + self.failed_units > self.planned:
            raise ValueError(
                f"snapshot {self.version}: {self.totals.units} units committed and {self.failed_units} failed, "
                f"but only {self.planned} planned"
            )
        return self
