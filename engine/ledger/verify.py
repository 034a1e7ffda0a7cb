"""Verify a whole output: read all its files again and report every problem.

An output that passes has the bytes that were committed, adds up sample by sample, and keeps the rules of the records.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from engine.ledger.commits import read_commit, to_snapshot_entry
from engine.ledger.evidence import read_evidence, read_rejections
from engine.ledger.rows import rows_digest
from engine.ledger.snapshots.set_digest import SetDigest
from engine.ledger.snapshots.snapshots import failed_units, latest_snapshot, snapshot_entries
from engine.ledger.snapshots.summary import Summary, summarize
from engine.ledger.unit_result import has_region
from engine.settings import StorageSettings
from engine.storage.store import Store, open_store
from engine.threads import map_ordered
from schemas.codes import SAMPLE_CODES
from schemas.errors import ConflictError, NotFoundError
from schemas.ledger import CommitRecord, Snapshot, SnapshotEntry, Totals, totals_of
from schemas.progress import ProgressCallback
from schemas.rows import EvidenceRow, RejectionRow, rows_of
from schemas.spans import check_span

SHOWN = 50
COMMIT_GONE = "its commit record is gone; move snapshots/ away and run the job again, which redoes this unit"


def verify(
    url: str, progress: ProgressCallback | None = None, storage: StorageSettings | None = None
) -> Summary:
    """Check every file and row of the latest snapshot. Return its summary.

    raises: NotFoundError if there is no snapshot; ConflictError with the first 50 problems
    """
    store = open_store(url, storage)
    snapshot = latest_snapshot(store)
    problems = ProblemList()
    digest, totals = SetDigest(), Totals()
    unreadable: list[ConflictError] = []
    read = map_ordered(
        lambda entry: (entry, list(entry_problems(store, entry))),
        _readable_entries(store, snapshot, unreadable),
    )
    for done, (entry, found) in enumerate(read, 1):
        problems.add_unit(entry.unit, found)
        digest.add([(entry.unit, entry.rows_digest)])
        totals = totals.plus(totals_of(entry))
        if progress is not None:
            progress("verify", done, snapshot.totals.units)
    for error in unreadable:
        problems.add(f"the entries cannot all be read, so not all units were checked: {error}")
    if not unreadable and (digest.value(), totals) != (snapshot.digest, snapshot.totals):
        problems.add("the snapshot's digest or totals differ from those of its entries")
    for problem in _failed_units_problems(store, snapshot):
        problems.add(problem)
    problems.raise_if_any(store.url, "problems")
    return summarize(snapshot)


def _readable_entries(
    store: Store, snapshot: Snapshot, unreadable: list[ConflictError]
) -> Iterator[SnapshotEntry]:
    """Yield the entries up to the first that cannot be read, and append its error."""
    try:
        yield from snapshot_entries(store, snapshot)
    except ConflictError as error:
        unreadable.append(error)


def _failed_units_problems(store: Store, snapshot: Snapshot) -> Iterator[str]:
    try:
        failed = sum(1 for _ in failed_units(store, snapshot))
    except ConflictError as error:
        yield str(error)
        return
    if failed != snapshot.failed_units:
        yield f"{failed} failed units are listed, {snapshot.failed_units} counted"


class ProblemList:
    """Counts all problems and keeps the first ones in words: a damaged output may have millions."""

    def __init__(self) -> None:
        self._count = 0
        self._first: list[str] = []

    def add(self, problem: str) -> None:
        """Add a problem."""
        self._count += 1
        if len(self._first) < SHOWN:
            self._first.append(problem)

    def add_unit(self, unit: str, problems: Iterable[str]) -> None:
        """Add the problems of a unit."""
        for problem in problems:
            self.add(f"{unit}: {problem}")

    def raise_if_any(self, where: str, what: str) -> None:
        """Raise ConflictError with the number of problems and the first ones, if there are any."""
        if not self._count:
            return
        rest = f"\n... and {self._count - SHOWN} more" if self._count > SHOWN else ""
        raise ConflictError(f"{where}: {self._count} {what}\n" + "\n".join(self._first) + rest)


def entry_problems(store: Store, entry: SnapshotEntry) -> Iterator[str]:
    """Yield the problems of one committed unit."""
    try:
        record = read_commit(store, entry.unit, entry.fingerprint)
        rows = rows_of(read_evidence(store, entry), EvidenceRow)
        rejections = rows_of(read_rejections(store, entry), RejectionRow)
    except (ConflictError, NotFoundError) as error:
        yield str(error)
        return
    if record is None:
        yield COMMIT_GONE
        return
    if to_snapshot_entry(record) != entry:
        yield "the snapshot and the commit record differ"
    yield from _count_problems(record, rows, rejections)
    for row in rows:
        yield from (f"sample {row['index']} ({row['key']!r}): {problem}" for problem in row_problems(row))
    for rejection in rejections:
        if rejection["code"] not in SAMPLE_CODES:
            yield f"sample {rejection['index']}: {rejection['code']!r} is not a reason code"


def row_problems(row: EvidenceRow) -> Iterator[str]:
    """Yield the problems of one evidence row: spans, phrase indices of regions, boxes, numbers."""
    for phrase in (*row["phrases"], *row["dropped_phrases"]):
        try:
            if phrase["begin"] is not None and phrase["end"] is not None:
                check_span(row["caption"], phrase["begin"], phrase["end"], phrase["text"])
        except ValueError as error:
            yield str(error)
    for region in row["regions"]:
        if not 0 <= region["phrase"] < len(row["phrases"]):
            yield f"a region refers to phrase {region['phrase']} of {len(row['phrases'])}"
        x0, y0, x1, y1 = box = [region["x0"], region["y0"], region["x1"], region["y1"]]
        if not np.isfinite([*box, region["score"]]).all():
            yield f"a region has a number that is not finite: {box}, score {region['score']}"
        elif not (0 <= x0 < x1 <= row["width"] and 0 <= y0 < y1 <= row["height"]):
            yield f"box {box} is empty or outside the image of {row['width']} x {row['height']}"
        elif not 0 <= region["score"] <= 1:
            yield f"score {region['score']} is outside 0..1"


def _count_problems(
    record: CommitRecord, rows: Sequence[EvidenceRow], rejections: Sequence[RejectionRow]
) -> Iterator[str]:
    """Yield the differences between a commit's counts and its rows."""
    unit, counts = record.unit, record.counts
    indices = sorted([row["index"] for row in rows] + [row["index"] for row in rejections])
    if indices != list(range(unit.first, unit.first + unit.count)):
        yield f"samples {unit.first}..{unit.first + unit.count - 1} are not each accounted for once"
    if any(row["unit"] != unit.name for row in (*rows, *rejections)):
        yield "a row belongs to another unit"
    labeled = sum(map(has_region, rows))
    codes = [row["code"] for row in rejections]
    found = (labeled, len(rows) - labeled, {code: codes.count(code) for code in set(codes)})
    if found != (counts.labelled, counts.empty, counts.rejected):
        yield f"labeled, empty, rejected are {found}, recorded are {counts}"
    if (regions := sum(len(row["regions"]) for row in rows)) != record.regions:
        yield f"{regions} regions, recorded are {record.regions}"
    if rows_digest(rows, rejections) != record.rows_digest:
        yield "the digest of the rows differs from the recorded one"
