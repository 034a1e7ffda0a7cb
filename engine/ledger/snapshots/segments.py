"""Segments: files of snapshot entries in unit order. Each publish adds a small segment, and small segments are merged.

A segment is named by the version that it was written for and by its content, and is checked when it is read. However
many publishes were made, a snapshot has few segments: at most 7 of each size class below 262,144 entries, and larger
ones, which are not merged again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypedDict

import pyarrow as pa
import pyarrow.compute as pc

from engine.ledger.commits import put_data
from engine.storage.safe_parquet import read_batches, read_table, table_bytes
from engine.storage.store import Store
from schemas.digests import sha256_hex
from schemas.errors import ConflictError, NotFoundError
from schemas.ledger import DataFile, SampleCounts, Segment, SnapshotEntry, Totals

FAN_OUT = 8  # number of segments of one size class that are merged
FINAL_UNITS = FAN_OUT**6  # a segment with so many entries is not merged again, to bound memory
ROW_GROUP_ROWS = 16_384
_REMEDY = "restore the file, or move snapshots/ away and run the job again, which finds all commits"
_ENTRIES_AT_ONCE = 256  # objects that a reader of a snapshot has of each segment
_FILE = ("path", "size_bytes", "sha256", "rows")
SEGMENT = pa.schema(
    [
        ("unit", pa.string()),
        ("fingerprint", pa.string()),
        ("shard", pa.string()),
        ("samples_in", pa.int64()),
        ("labelled", pa.int64()),
        ("empty", pa.int64()),
        ("rejected", pa.list_(pa.struct([("code", pa.string()), ("count", pa.int64())]))),
        ("regions", pa.int64()),
        *((f"{name}_{part}", kind) for name in ("evidence", "rejections") for part, kind in zip(
            _FILE, (pa.string(), pa.int64(), pa.string(), pa.int64())
        )),
        ("rows_digest", pa.string()),
        ("quarantined", pa.bool_()),
    ],
    metadata={"groundswell.segment": "1"},
)  # fmt: skip
Key = tuple[str, str, str]


class CodeCount(TypedDict):
    """The number of rejected samples with a code."""

    code: str
    count: int


class SegmentRow(TypedDict):
    """A snapshot entry as a row of a segment; the four columns of a missing rejections file are null."""

    unit: str
    fingerprint: str
    shard: str
    samples_in: int
    labelled: int
    empty: int
    rejected: list[CodeCount]
    regions: int
    evidence_path: str
    evidence_size_bytes: int
    evidence_sha256: str
    evidence_rows: int
    rejections_path: str | None
    rejections_size_bytes: int | None
    rejections_sha256: str | None
    rejections_rows: int | None
    rows_digest: str
    quarantined: bool


def segment_path(version: int, name: str) -> str:
    """Return the path of a file written for a version. Only that version can be the first to name it."""
    return f"segments/{version:020d}-{name}.parquet"


def segment_version(path: str) -> int | None:
    """Return the version that a file was written for; None for a path of another form."""
    version = path.removeprefix("segments/").partition("-")[0]
    return int(version) if len(version) == 20 and version.isdigit() else None


def write_segment(store: Store, entries: Iterable[SnapshotEntry], version: int) -> Segment:
    """Write a segment for `version`. The entries may be in any order, but each unit occurs once."""
    rows = sorted(map(_row, entries), key=lambda row: row["unit"])
    return _put(store, pa.Table.from_pylist(rows, schema=SEGMENT), version)


def segment_entries(store: Store, segment: Segment) -> Iterator[SnapshotEntry]:
    """Yield the entries in unit order. Raises ConflictError if the segment is not what its snapshot says."""
    where = f"{store.url}/{segment.path}"
    for batch in read_batches(_read_checked(store, segment), SEGMENT, where, _ENTRIES_AT_ONCE):
        yield from map(_entry, batch.to_pylist())


def segment_keys(store: Store, segment: Segment) -> Iterator[Key]:
    """Yield (shard, unit, fingerprint) of each entry in unit order, which decide whether a job admits it."""
    where = f"{store.url}/{segment.path}"
    columns = ["shard", "unit", "fingerprint"]
    for batch in read_batches(_read_checked(store, segment), SEGMENT, where, ROW_GROUP_ROWS, columns):
        yield from zip(*(batch.column(name).to_pylist() for name in columns))


def filter_segment(
    store: Store, segment: Segment, admits: Callable[[str, str, str], bool], version: int
) -> tuple[Segment | None, list[tuple[str, str]]]:
    """Write the segment without the entries that are not admitted; also return those as (unit, rows_digest)."""
    table = _table(store, segment)
    keys = zip(*(table.column(name).to_pylist() for name in ("shard", "unit", "fingerprint")))
    is_admitted = pa.array([admits(*key) for key in keys], pa.bool_())
    removed = table.filter(pc.invert(is_admitted))
    kept = table.filter(is_admitted)
    dropped = list(zip(*(removed.column(name).to_pylist() for name in ("unit", "rows_digest"))))
    return (_put(store, kept, version) if kept.num_rows else None), dropped


def merge_small(store: Store, segments: Iterable[Segment], version: int) -> tuple[Segment, ...]:
    """Merge segments: FAN_OUT segments of one size class become one or a few larger ones.

    An entry is rewritten once for each size class, so the cost of publishing is a small multiple of what is new.
    """
    merged = list(segments)
    while full := _find_full_class(merged):
        merged = [segment for segment in merged if segment not in full]
        merged += [_merge(store, run, version) for run in _split_into_runs(full)]
    return tuple(sorted(merged, key=lambda segment: (-segment.totals.units, segment.path)))


def _find_full_class(segments: Sequence[Segment]) -> list[Segment]:
    """Return the segments of the smallest size class that has FAN_OUT of them; an empty list if there is none."""
    classes: dict[int, list[Segment]] = {}
    for segment in segments:
        if segment.totals.units < FINAL_UNITS:
            classes.setdefault(_size_class(segment.totals.units), []).append(segment)
    return next((classes[number] for number in sorted(classes) if len(classes[number]) >= FAN_OUT), [])


def _size_class(units: int) -> int:
    """Return 0 for 1..7 entries, 1 for 8..63, and so on."""
    return (max(units, 1).bit_length() - 1) // 3


def _split_into_runs(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """Yield groups to merge; a group ends as soon as its result is large enough to be final."""
    run: list[Segment] = []
    for segment in segments:
        run.append(segment)
        if sum(each.totals.units for each in run) >= FINAL_UNITS:
            yield run
            run = []
    if run:
        yield run


def _merge(store: Store, segments: Sequence[Segment], version: int) -> Segment:
    if len(segments) == 1:
        return segments[0]
    table = pa.concat_tables(_table(store, segment) for segment in segments).sort_by("unit")
    return _put(store, table, version)


def _put(store: Store, table: pa.Table, version: int) -> Segment:
    data = table_bytes(table, ROW_GROUP_ROWS)
    sha256 = sha256_hex(data)
    path = segment_path(version, sha256[:16])
    put_data(store, path, data)
    return Segment(path=path, size_bytes=len(data), sha256=sha256, totals=_totals(table))


def _table(store: Store, segment: Segment) -> pa.Table:
    table = read_table(_read_checked(store, segment), SEGMENT, f"{store.url}/{segment.path}")
    if _totals(table) != segment.totals:
        raise ConflictError(
            f"{store.url}/{segment.path}: its totals are {_totals(table)}, its snapshot expects {segment.totals}; "
            f"{_REMEDY}"
        )
    return table


def _read_checked(store: Store, segment: Segment) -> bytes:
    try:
        data = store.read(segment.path)
    except NotFoundError as error:
        raise ConflictError(f"{error}, but its snapshot names it; {_REMEDY}") from error
    if (len(data), sha256_hex(data)) != (segment.size_bytes, segment.sha256):
        raise ConflictError(
            f"{store.url}/{segment.path}: {len(data)} bytes with sha256 {sha256_hex(data)[:16]}..., its snapshot "
            f"expects {segment.size_bytes} with {segment.sha256[:16]}...; {_REMEDY}"
        )
    return data


def _totals(table: pa.Table) -> Totals:
    def total(name: str) -> int:
        return int(pc.sum(table.column(name)).as_py() or 0)

    pairs = pa.Table.from_struct_array(pc.list_flatten(table.column("rejected")))
    by_code = pairs.group_by("code").aggregate([("count", "sum")]).to_pylist()
    counts = SampleCounts(
        samples_in=total("samples_in"),
        labelled=total("labelled"),
        empty=total("empty"),
        rejected={row["code"]: row["count_sum"] for row in sorted(by_code, key=lambda row: str(row["code"]))},
    )
    return Totals(
        units=table.num_rows,
        samples=counts,
        regions=total("regions"),
        quarantined=total("quarantined"),
    )


def _row(entry: SnapshotEntry) -> SegmentRow:
    counts, evidence, rejections = entry.counts, entry.evidence, entry.rejections
    return {
        "unit": entry.unit,
        "fingerprint": entry.fingerprint,
        "shard": entry.shard,
        "samples_in": counts.samples_in,
        "labelled": counts.labelled,
        "empty": counts.empty,
        "rejected": [{"code": code, "count": n} for code, n in sorted(counts.rejected.items())],
        "regions": entry.regions,
        "evidence_path": evidence.path,
        "evidence_size_bytes": evidence.size_bytes,
        "evidence_sha256": evidence.sha256,
        "evidence_rows": evidence.rows,
        "rejections_path": rejections.path if rejections else None,
        "rejections_size_bytes": rejections.size_bytes if rejections else None,
        "rejections_sha256": rejections.sha256 if rejections else None,
        "rejections_rows": rejections.rows if rejections else None,
        "rows_digest": entry.rows_digest,
        "quarantined": entry.quarantined,
    }


def _entry(row: SegmentRow) -> SnapshotEntry:
    return SnapshotEntry(
        unit=row["unit"],
        fingerprint=row["fingerprint"],
        shard=row["shard"],
        counts=SampleCounts(
            samples_in=row["samples_in"],
            labelled=row["labelled"],
            empty=row["empty"],
            rejected={pair["code"]: pair["count"] for pair in row["rejected"]},
        ),
        regions=row["regions"],
        evidence=DataFile(
            path=row["evidence_path"],
            size_bytes=row["evidence_size_bytes"],
            sha256=row["evidence_sha256"],
            rows=row["evidence_rows"],
        ),
        rejections=_rejections(row),
        rows_digest=row["rows_digest"],
        quarantined=row["quarantined"],
    )


def _rejections(row: SegmentRow) -> DataFile | None:
    if row["rejections_path"] is None:
        return None
    return DataFile.model_validate(
        {
            "path": row["rejections_path"],
            "size_bytes": row["rejections_size_bytes"],
            "sha256": row["rejections_sha256"],
            "rows": row["rejections_rows"],
        }
    )
