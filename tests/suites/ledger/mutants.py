"""Classic mistakes of commit protocols, planted one by one into the code that the simulation runs.

Each is a context manager that replaces a function of the ledger or a verb of the store by a plausible mistake. The
simulation has to find every one (`test_simulation.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from engine.ledger import commits, garbage
from engine.ledger.epochs import Epoch, claim_epoch
from engine.ledger.snapshots import publisher
from engine.ledger.snapshots.set_digest import SetDigest
from engine.ledger.snapshots.snapshots import read_snapshot
from engine.storage import retry
from engine.storage.store import Store
from schemas.errors import NotFoundError
from schemas.ledger import CommitRecord
from tests.suites.ledger import simulated_processes
from tests.suites.ledger.mistaken_stores import DataLater, Everything, Pending, Renaming, remove_pending
from tests.suites.ledger.simulated_world import SimulatedStore

Mutant = Callable[[], AbstractContextManager[None]]
MUTANTS: dict[str, Mutant] = {}


def mutant(plant: Callable[[], Iterator[None]]) -> Mutant:
    """Register a mistake by its name."""
    made = contextmanager(plant)
    MUTANTS[plant.__name__.replace("_", " ")] = made
    return made


@mutant
def check_then_put() -> Iterator[None]:
    """Use `if not exists: put`, where two processes may find nothing."""

    def put_if_absent(store: SimulatedStore, path: str, data: bytes) -> bool:
        if store.exists(path):
            return False
        store.put(path, data)
        return True

    with patch.object(SimulatedStore, "put_if_absent", put_if_absent):
        yield


@mutant
def exists_means_lost() -> Iterator[None]:
    """Delete one's own data if the record exists, though the record may be one's own."""
    put_record = commits.put_record

    def careless(store: Store, path: str, record: Any) -> bytes:
        data = commits.record_bytes(record)
        if not isinstance(record, CommitRecord):
            return put_record(store, path, record)
        if not retry.run_with_retries(lambda: store.put_if_absent(path, data)):
            store.delete(record.evidence.path)
        return store.read(path)

    with patch.object(commits, "put_record", careless):
        yield


@mutant
def clean_up_on_an_unknown_outcome() -> Iterator[None]:
    """Treat an error of the commit as a commit that did not happen."""
    put_record = commits.put_record

    def careless(store: Store, path: str, record: Any) -> bytes:
        if not isinstance(record, CommitRecord):
            return put_record(store, path, record)
        data = commits.record_bytes(record)
        try:
            store.put_if_absent(path, data)
        except OSError:
            store.delete(record.evidence.path)
            raise
        return store.read(path)

    with patch.object(commits, "put_record", careless):
        yield


@mutant
def data_under_a_fixed_name() -> Iterator[None]:
    """Use the unit's name instead of the digest of its bytes."""
    put_table = commits._put_table

    def fixed(store: Store, folder: str, rows: Any, schema: Any, metadata: Any) -> Any:
        file, kept = put_table(Renaming(store, folder), folder, rows, schema, metadata)
        return file.model_copy(update={"path": f"{folder}/part.parquet"}), kept

    with patch.object(commits, "_put_table", fixed):
        yield


@mutant
def commit_before_data() -> Iterator[None]:
    """Write the record first, and the files that it names afterwards."""
    commit_unit = commits.commit_unit

    def early(store: Store, *arguments: Any) -> CommitRecord:
        late = DataLater(store)
        record = commit_unit(late, *arguments)
        late.flush()
        return record

    with patch.object(simulated_processes, "commit_unit", early):
        yield


@mutant
def pending_then_copy_then_delete() -> Iterator[None]:
    """Move `x.pending` to `x`; a process that finds a pending commit removes what it names (docs/ledger.md, 7)."""
    commit_unit = commits.commit_unit

    def moving(store: Store, *arguments: Any) -> CommitRecord:
        remove_pending(store)
        return commit_unit(Pending(store), *arguments)

    with patch.object(simulated_processes, "commit_unit", moving):
        yield


@mutant
def publish_without_rebase() -> Iterator[None]:
    """Publish the publisher's own list, whatever the latest version contains."""

    def nothing_stands(publisher: Any, newest: Any) -> Any:
        return [], SetDigest()

    with patch.object(publisher.Publisher, "_carry_over", nothing_stands):
        yield


@mutant
def publish_over_what_stands() -> Iterator[None]:
    """Put the next version over an existing one."""

    def over(store: Store, path: str, record: Any) -> bytes:
        data = commits.record_bytes(record)
        store.put(path, data)
        return data

    with patch.object(publisher, "put_record", over):
        yield


@mutant
def a_snapshot_before_its_segments() -> Iterator[None]:
    """Put the version first, and the file with its entries afterwards."""
    put_record = publisher.put_record

    def early(store: Store, path: str, record: Any) -> bytes:
        standing = put_record(store, path, record)
        if isinstance(store, DataLater):
            store.flush()
        return standing

    def wrapped(publisher: Any, store: Store, *arguments: Any, **named: Any) -> None:
        made(publisher, DataLater(store, "segments/"), *arguments, **named)

    made = publisher.Publisher.__init__
    with patch.object(publisher, "put_record", early), patch.object(publisher.Publisher, "__init__", wrapped):
        yield


@mutant
def records_created_then_filled() -> Iterator[None]:
    """Use `open(path, "xb")`, then write: exclusive, but a death in between leaves a torn record for ever."""
    put_if_absent = SimulatedStore.put_if_absent

    def torn(store: SimulatedStore, path: str, data: bytes) -> bool:
        if not put_if_absent(store, path, b""):
            return False
        store._do("put", path, lambda: store.world.objects.__setitem__(path, data))
        return True

    with patch.object(SimulatedStore, "put_if_absent", torn):
        yield


@mutant
def readers_list_the_folder() -> Iterator[None]:
    """Treat everything under data/ as committed."""

    def count(reader: Any) -> None:
        quiet = SimulatedStore(reader._store.world, quiet=True)
        for path in reader._store.list("data"):
            _, unit, fingerprint16, _ = path.split("/")
            commit = commits.read_commit_by_short_fingerprint(quiet, unit, fingerprint16)
            if commit is None or commit.evidence.path != path:
                raise simulated_processes.Violation(f"a reader took {path}, which nobody committed")

    with patch.object(simulated_processes.Reader, "_open", count):
        yield


@mutant
def collection_before_a_unit_is_decided() -> Iterator[None]:
    """Delete whatever no commit names, though its commit may be about to be written."""

    def orphans(store: Store, group: Any) -> list[str]:
        commit = commits.read_commit_by_short_fingerprint(store, group.unit, group.fingerprint16)
        files = (commit.evidence, commit.rejections) if commit else ()
        return [path for path in group.paths if path not in {file.path for file in files if file}]

    always = property(lambda group: True)
    groups = garbage._FileGroup
    with (
        patch.object(garbage, "_find_orphans", orphans),
        patch.object(groups, "may_hold_orphans", always),
        patch.object(garbage, "frozenset", lambda paths: Everything(), create=True),
    ):
        yield


@mutant
def segments_collected_before_their_version_is_decided() -> Iterator[None]:
    """Delete whatever segment no snapshot names, though its snapshot may be about to be written."""
    with (
        patch.object(garbage, "frozenset", lambda listed: Everything(), create=True),
        patch.object(garbage, "read_snapshot", _nothing_named),
    ):
        yield


def _nothing_named(store: Store, version: int) -> Any:
    try:
        return read_snapshot(store, version)
    except NotFoundError:
        return SimpleNamespace(segments=(), failed_rest=None)


@mutant
def collection_that_ignores_epochs() -> Iterator[None]:
    """Continue to delete in a clean-up that was superseded."""
    with patch.object(Epoch, "check_newest", lambda epoch: None):
        yield


@mutant
def publishing_that_ignores_epochs() -> Iterator[None]:
    """Continue to publish in a driver that another job has superseded."""
    with patch.object(Epoch, "check_no_rival", lambda epoch: None):
        yield


@mutant
def collection_that_trusts_a_listing_of_commits_made_first() -> Iterator[None]:
    """Delete files that no commit of a listing names, where the files are listed after the commits."""

    def collect_all(store: Store, epoch: Any = None) -> None:
        epoch = claim_epoch(store, "clean")
        named = set()
        for path in store.list("commits"):
            record = CommitRecord.model_validate_json(store.read(path))
            named |= {file.path for file in (record.evidence, record.rejections) if file}
        epoch.check_newest()
        for path in (path for folder in garbage.FOLDERS for path in store.list(folder)):
            if path not in named:
                store.delete(path)

    with patch.object(simulated_processes, "collect_garbage", collect_all):
        yield


@mutant
def handed_out_counts_as_done() -> Iterator[None]:
    """Report the record that a worker is about to commit."""

    def put_record(store: Store, path: str, record: Any) -> bytes:
        try:
            return put(store, path, record)
        except OSError:
            return commits.record_bytes(record)

    put = commits.put_record
    with patch.object(commits, "put_record", put_record), patch.object(retry, "TRIES", 1):
        yield
