"""Orphans: files under data/ and rejected/ that lost to another attempt, files under segments/ whose version another
publisher made, and half-written files of dead processes.

Promise: a file is deleted only when the record that would be the first to name it stands and does not: the commit of
its unit and fingerprint, the snapshot of its version. From then on no record can ever name it. Where none stands,
nothing is touched. No age and no clock decides.
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
Look = Callable[[], list[str]]  # what is found to be an orphan


@dataclass(frozen=True)
class GarbageReport:
    """What a collection did."""

    deleted: tuple[str, ...]
    abandoned: tuple[str, ...]  # half-written files of dead processes of this machine
    undecided: int  # files that were left because no commit or snapshot decides on them yet
    foreign: int  # files that were left because their path is not of our form


@dataclass(frozen=True)
class _Group:
    """The files of one unit and fingerprint."""

    unit: str
    fingerprint16: str
    paths: tuple[str, ...]

    @property
    def commit_path(self) -> str:
        """Where the record stands that decides on them."""
        return commit_path(self.unit, self.fingerprint16)

    @property
    def may_hold_orphans(self) -> bool:
        """Not when there is one file alone: the standing commit names it."""
        return len(self.paths) > 1


def collect_garbage(store: Store, epoch: Epoch | None = None) -> GarbageReport:
    """Delete the files that lost. Safe beside running jobs: what they may still commit is never touched.

    epoch:  the caller's; default: a new one is claimed, for this clean-up
    raises: ConflictError when a higher epoch than `epoch` is claimed meanwhile, and for a commit that cannot be read
    """
    epoch = epoch or claim_epoch(store, "clean")
    groups, foreign = _groups(chain.from_iterable(store.list(folder) for folder in FOLDERS))
    decided = frozenset(store.list("commits"))  # listed after the files; only says where to look
    undecided = sum(len(group.paths) for group in groups if group.commit_path not in decided)
    looks: list[Look] = [
        partial(_orphans, store, group)
        for group in groups
        if group.commit_path in decided and group.may_hold_orphans
    ]
    versions, foreign_segments = _segments_by_version(store)
    published = frozenset(snapshot_versions(store))
    looks += [partial(_lost_segments, store, *each) for each in versions.items() if each[0] in published]
    undecided += sum(len(paths) for version, paths in versions.items() if version not in published)
    deleted = _delete(store, epoch, looks)
    swept = remove_abandoned_files(store.root_folder) if store.is_local else []
    return GarbageReport(tuple(sorted(deleted)), tuple(swept), undecided, foreign + foreign_segments)


def _delete(store: Store, epoch: Epoch, looks: list[Look]) -> list[str]:
    """Delete what the looks find; before each batch that holds any, look for a later epoch."""
    deleted: list[str] = []
    with ThreadPoolExecutor(_LOOKUPS_AT_ONCE) as threads:
        for first in range(0, len(looks), BATCH_UNITS):
            batch = looks[first : first + BATCH_UNITS]
            orphans = [path for found in threads.map(lambda look: look(), batch) for path in found]
            if orphans:
                epoch.check_newest()
            for path in orphans:
                run_with_retries(partial(store.delete, path))
            deleted += orphans
    return deleted


def _segments_by_version(store: Store) -> tuple[dict[int, list[str]], int]:
    """Files of publishes by the version that they were written for, and how many are of another form."""
    found: dict[int, list[str]] = {}
    foreign = 0
    for path in store.list("segments"):
        version = segment_version(path)
        if version is None:
            foreign += 1
        else:
            found.setdefault(version, []).append(path)
    return found, foreign


def _lost_segments(store: Store, version: int, paths: list[str]) -> list[str]:
    """Those that their version does not name. No later one can: it names what the one before does, and its own."""
    try:
        snapshot = read_snapshot(store, version)
    except NotFoundError:  # a listing is not believed
        return []
    named = {segment.path for segment in snapshot.segments}
    named |= {snapshot.failed_rest.path} if snapshot.failed_rest else set()
    return [path for path in paths if path not in named]


def _groups(paths: Iterable[str]) -> tuple[list[_Group], int]:
    found: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    foreign = 0
    for path in paths:
        parts = path.split("/")
        if len(parts) == 4 and len(parts[2]) == 16:  # data/<unit>/<fp16>/<sha16>.parquet
            found[parts[1], parts[2]].append(path)
        else:
            foreign += 1
    return [_Group(unit, fp, tuple(paths)) for (unit, fp), paths in sorted(found.items())], foreign


def _orphans(store: Store, group: _Group) -> list[str]:
    commit = read_commit_by_short_fingerprint(store, group.unit, group.fingerprint16)
    if commit is None:  # a listing is not believed
        return []
    named = {file.path for file in (commit.evidence, commit.rejections) if file is not None}
    return [path for path in group.paths if path not in named]
