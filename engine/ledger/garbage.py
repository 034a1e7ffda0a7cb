"""Garbage collection of an output's orphans.

Orphans are files under data/ and rejected/ that lost to another attempt, files under segments/ whose version another
publisher made, and half-written files of dead processes.

A file is deleted only if the record that would be the first to name it exists and does not name it: the commit of its
unit and fingerprint, or the snapshot of its version. Then no record can ever name the file. If that record does not
exist, the file is kept. No age and no clock decides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain

from engine.ledger.commits import commit_path, read_commit_by_short_fingerprint
from engine.ledger.epochs import Epoch, claim_epoch
from engine.ledger.snapshots.segments import segment_version
from engine.ledger.snapshots.snapshots import read_snapshot, snapshot_versions
from engine.storage.local_files import remove_abandoned_files
from engine.storage.retry import run_with_retries
from engine.storage.store import Store
from schemas.errors import NotFoundError

FOLDERS = ("data", "rejected")
BATCH_UNITS = 256
_LOOKUPS_AT_ONCE = 16
FindOrphans = Callable[[], list[str]]  # returns paths of orphans


@dataclass(frozen=True)
class GarbageReport:
    """The result of a garbage collection."""

    deleted: tuple[str, ...]
    abandoned: tuple[str, ...]  # half-written files of dead processes of this machine
    undecided: int  # files that were kept because no commit or snapshot decides on them yet
    foreign: int  # files that were kept because their path does not have our form


@dataclass(frozen=True)
class _FileGroup:
    """The files of one unit and fingerprint."""

    unit: str
    fingerprint16: str
    paths: tuple[str, ...]

    @property
    def commit_path(self) -> str:
        """The path of the record that decides on the files."""
        return commit_path(self.unit, self.fingerprint16)

    @property
    def may_hold_orphans(self) -> bool:
        """Whether there is more than one file: the existing commit names one of them."""
        return len(self.paths) > 1


def collect_garbage(store: Store, epoch: Epoch | None = None) -> GarbageReport:
    """Delete all orphans. This is safe while jobs run: files that they may still commit are kept.

    epoch:  the caller's epoch; default: a new one is claimed for this clean-up
    raises: ConflictError if a higher epoch than `epoch` is claimed in the meantime, and for a commit that cannot be
            read
    """
    epoch = epoch or claim_epoch(store, "clean")
    groups, foreign = _group_files(chain.from_iterable(store.list(folder) for folder in FOLDERS))
    decided = frozenset(store.list("commits"))  # listed after the files; only a hint where to look
    undecided = sum(len(group.paths) for group in groups if group.commit_path not in decided)
    finders: list[FindOrphans] = [
        partial(_find_orphans, store, group)
        for group in groups
        if group.commit_path in decided and group.may_hold_orphans
    ]
    versions, foreign_segments = _segments_by_version(store)
    published = frozenset(snapshot_versions(store))
    finders += [
        partial(_find_orphan_segments, store, *each) for each in versions.items() if each[0] in published
    ]
    undecided += sum(len(paths) for version, paths in versions.items() if version not in published)
    deleted = _delete(store, epoch, finders)
    abandoned = remove_abandoned_files(store.root_folder) if store.is_local else []
    return GarbageReport(tuple(sorted(deleted)), tuple(abandoned), undecided, foreign + foreign_segments)


def _delete(store: Store, epoch: Epoch, finders: list[FindOrphans]) -> list[str]:
    """Delete all found orphans; check for a later epoch before each batch that has any."""
    deleted: list[str] = []
    with ThreadPoolExecutor(_LOOKUPS_AT_ONCE) as threads:
        for first in range(0, len(finders), BATCH_UNITS):
            batch = finders[first : first + BATCH_UNITS]
            orphans = [path for found in threads.map(lambda find: find(), batch) for path in found]
            if orphans:
                epoch.check_newest()
            for path in orphans:
                run_with_retries(partial(store.delete, path))
            deleted += orphans
    return deleted


def _segments_by_version(store: Store) -> tuple[dict[int, list[str]], int]:
    """Return the segment files by the version that they were written for, and the number of foreign files."""
    found: dict[int, list[str]] = {}
    foreign = 0
    for path in store.list("segments"):
        version = segment_version(path)
        if version is None:
            foreign += 1
        else:
            found.setdefault(version, []).append(path)
    return found, foreign


def _find_orphan_segments(store: Store, version: int, paths: list[str]) -> list[str]:
    """Return the segments that their version does not name.

    No later version can name them: it names what the version before names, and its own segments.
    """
    try:
        snapshot = read_snapshot(store, version)
    except NotFoundError:  # listings can be stale
        return []
    named = {segment.path for segment in snapshot.segments}
    named |= {snapshot.failed_rest.path} if snapshot.failed_rest else set()
    return [path for path in paths if path not in named]


def _group_files(paths: Iterable[str]) -> tuple[list[_FileGroup], int]:
    """Group paths by unit and fingerprint; also return the number of foreign paths."""
    found: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    foreign = 0
    for path in paths:
        parts = path.split("/")
        if len(parts) == 4 and len(parts[2]) == 16:  # data/<unit>/<fp16>/<sha16>.parquet
            found[parts[1], parts[2]].append(path)
        else:
            foreign += 1
    return [_FileGroup(unit, fp, tuple(paths)) for (unit, fp), paths in sorted(found.items())], foreign


def _find_orphans(store: Store, group: _FileGroup) -> list[str]:
    commit = read_commit_by_short_fingerprint(store, group.unit, group.fingerprint16)
    if commit is None:  # listings can be stale
        return []
    named = {file.path for file in (commit.evidence, commit.rejections) if file is not None}
    return [path for path in group.paths if path not in named]
