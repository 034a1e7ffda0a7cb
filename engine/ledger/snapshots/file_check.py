"""Check that the files that a snapshot names still exist, without reading them.

A missing file is reported with a remedy before a run reports that all is done. Bytes are compared when a file is read,
and by `verify`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from engine.ledger.commits import commit_path
from engine.ledger.snapshots.snapshots import MOVE_AWAY, snapshot_entries
from engine.storage.store import Store
from engine.threads import map_parallel
from schemas.errors import ConflictError, NotFoundError
from schemas.ledger import DataFile, Segment, Snapshot, SnapshotEntry

MAX_CHECKED_UNITS = 10_000  # above it, a run does not check its files at the start
FOLDERS = ("commits", "data", "rejected")
_SHOWN = 5


def check_segments(store: Store, snapshot: Snapshot) -> None:
    """Raise ConflictError unless the files that a snapshot itself names exist and have their sizes."""
    files: list[Segment | DataFile] = [*snapshot.segments]
    files += [snapshot.failed_rest] if snapshot.failed_rest else []
    lost = [problem for problem in map_parallel(lambda file: _find_problem(store, file), files) if problem]
    if lost:
        raise ConflictError(
            f"{len(lost)} files that snapshot {snapshot.version} names are missing or have another size: {lost[0]}; "
            "restore them, or "
            f"{MOVE_AWAY}"
        )


def check_files(store: Store, snapshot: Snapshot, admits: Callable[[SnapshotEntry], bool]) -> bool:
    """Check that the commits and data files of a snapshot's units exist, with one listing for each folder.

    admits:  decides which entries are checked
    returns: False, without a check, if there are more than MAX_CHECKED_UNITS units
    raises:  ConflictError that names the first missing files
    """
    if snapshot.totals.units > MAX_CHECKED_UNITS:
        return False
    entries = [entry for entry in snapshot_entries(store, snapshot) if admits(entry)]
    listed = {path for folder in FOLDERS for path in store.list(folder)} if entries else set()
    unlisted = [path for entry in entries for path in _paths(entry) if path not in listed]
    exist = map_parallel(store.exists, unlisted)  # listings can be stale
    if gone := [path for path, exists in zip(unlisted, exist, strict=True) if not exists]:
        units = sorted({path.split("/")[1] for path in gone})
        raise ConflictError(
            f"{store.url}: {len(gone)} files of {len(units)} committed units are missing, first "
            f"{', '.join(gone[:_SHOWN])}; restore them, or move snapshots/ and the folders of these units under "
            f"commits/ ({', '.join(units[:_SHOWN])}) away and run the job again, which redoes them"
        )
    return True


def _paths(entry: SnapshotEntry) -> Iterator[str]:
    yield commit_path(entry.unit, entry.fingerprint)
    yield from (file.path for file in (entry.evidence, entry.rejections) if file is not None)


def _find_problem(store: Store, file: Segment | DataFile) -> str:
    """Describe what is wrong with a file; return an empty string if nothing is."""
    try:
        found = store.size(file.path)
    except NotFoundError as error:
        return str(error)
    expected = file.size_bytes
    return "" if found == expected else f"{store.url}/{file.path} has {found} bytes of {expected}"
