"""Whether what a snapshot names is still there: a look for the files, without reading them.

Promise: a file that is gone is named with a remedy before anybody is told that all is done. Bytes are compared when a
file is read, and by `verify`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from engine.ledger.commits import commit_path
from engine.ledger.snapshots.snapshots import MOVE_AWAY, snapshot_entries
from engine.storage.store import Store
from engine.threads import map_parallel
from schemas.errors import ConflictError, NotFoundError
from schemas.ledger import DataFile, Segment, Snapshot, SnapshotEntry

LOOKED_FOR_AT_MOST = 10_000  # units whose files a run looks for as it begins
FOLDERS = ("commits", "data", "rejected")
_SHOWN = 5


def check_segments(store: Store, snapshot: Snapshot) -> None:
    """Raise ConflictError unless the files that a snapshot itself names stand there in their size.

    One look for each.
    """
    files: list[Segment | DataFile] = [*snapshot.segments]
    files += [snapshot.failed_rest] if snapshot.failed_rest else []
    lost = [said for said in map_parallel(lambda file: _lost(store, file), files) if said]
    if lost:
        raise ConflictError(
            f"{len(lost)} files that snapshot {snapshot.version} names are gone: {lost[0]}; restore them, or "
            f"{MOVE_AWAY}"
        )


def check_files(store: Store, snapshot: Snapshot, admits: Callable[[SnapshotEntry], bool]) -> bool:
    """Look for the commits and data files of a snapshot's units, by one listing a folder.

    admits:  which of its entries count
    returns: False, and nothing was looked for, when there are more than LOOKED_FOR_AT_MOST units
    raises:  ConflictError that names the first files that are gone
    """
    if snapshot.totals.units > LOOKED_FOR_AT_MOST:
        return False
    entries = [entry for entry in snapshot_entries(store, snapshot) if admits(entry)]
    listed = {path for folder in FOLDERS for path in store.list(folder)} if entries else set()
    unlisted = [path for entry in entries for path in _named(entry) if path not in listed]
    there = map_parallel(store.exists, unlisted)  # a listing is not believed
    if gone := [path for path, stands in zip(unlisted, there, strict=True) if not stands]:
        units = sorted({path.split("/")[1] for path in gone})
        raise ConflictError(
            f"{store.url}: {len(gone)} files of {len(units)} committed units are gone, first "
            f"{', '.join(gone[:_SHOWN])}; restore them, or move snapshots/ and the folders of these units under "
            f"commits/ ({', '.join(units[:_SHOWN])}) away and run the job again, which redoes them"
        )
    return True


def _named(entry: SnapshotEntry) -> Iterator[str]:
    yield commit_path(entry.unit, entry.fingerprint)
    yield from (file.path for file in (entry.evidence, entry.rejections) if file is not None)


def _lost(store: Store, file: Segment | DataFile) -> str:
    try:
        found = store.size(file.path)
    except NotFoundError as error:
        return str(error)
    named = file.size_bytes
    return "" if found == named else f"{store.url}/{file.path} has {found} bytes of {named}"
