"""A whole run of a tiny job in one process, with the ledger's own functions, and checks of its result."""

from __future__ import annotations

import json
import random
from pathlib import Path

from engine.driver.label_run import LabelRun
from engine.ledger.attempts import begin_attempt
from engine.ledger.commits import commit_unit, read_commit, to_snapshot_entry
from engine.ledger.garbage import collect_garbage
from engine.ledger.shard_facts import record_facts
from engine.ledger.snapshots.snapshots import latest_snapshot, snapshot_entries
from engine.ledger.verify import verify
from engine.settings import StorageSettings
from engine.storage.local_files import TEMPORARY
from engine.storage.store import Store, open_store
from engine.task import Outcome, Task
from schemas.errors import ConflictError
from schemas.ledger import SnapshotEntry
from tests.suites.ledger.tiny_job import PROVENANCE, TinyJob

# a run's progress is none: it is written over and over, and nothing relies on it
RECORDS = ("attempts", "commits", "epochs", "jobs", "plans", "shards", "snapshots")


def run(url: str, job: TinyJob, variants: int = 1, seed: int = 0) -> None:
    """Label what is not labeled yet. Publish now and then, and at the end."""
    store, draw = open_store(url), random.Random(seed)
    work = LabelRun(store, job.new_plan(), job.settings)
    work.begin(job.stats, ())
    work.find_committed()
    work.publish()
    epoch = work.claim_epoch()
    while task := work.next_task():
        work.settle(done(store, job, task, epoch, draw.randrange(variants)))
        if draw.random() < 0.2:
            work.publish()
    work.publish()


def done(store: Store, job: TinyJob, task: Task, epoch: int, variant: int) -> Outcome:
    """Do what a worker does with a task."""
    if task.unit is None or task.parts is None:
        facts = job.facts_of(task.shard.url)
        record_facts(store, task.shard, job.settings, facts)
        return Outcome(task=task, facts=facts)
    record = read_commit(store, task.unit.name, task.parts.fingerprint())
    if record is None:
        begin_attempt(store, task.unit.name, task.parts.fingerprint(), epoch, "tiny")
        result = job.label(task.unit, variant)
        record = commit_unit(store, task.unit, task.parts, result, PROVENANCE)
    return Outcome(task=task, entry=to_snapshot_entry(record))


def clean(url: str) -> None:
    """Collect orphans; a later epoch ends it, as it ends the command."""
    try:
        collect_garbage(open_store(url))
    except ConflictError as conflict:
        if "nothing more is deleted" not in str(conflict):
            raise


def finish(url: str, job: TinyJob) -> dict[str, object]:
    """Run to the end, clean up and check; return what exists then. Raises AssertionError and errors of `verify`."""
    run(url, job)
    clean(url)
    summary = verify(url)
    units = {"planned": job.units, "committed": job.units, "failed": 0, "pending": 0}
    assert {name: summary["units"][name] for name in units} == units, summary["units"]
    assert summary["samples"]["in"] == sum(job.samples), summary["samples"]
    left = [str(path) for path in Path(url).rglob(f"{TEMPORARY}*")]
    assert not left, f"half-written files are left: {left}"
    named = {file for entry in _entries(url) for file in _files(entry)}
    found = set(_data(url))
    assert found == named, f"not named by a commit, or gone: {sorted(found ^ named)}"
    return {"digest": summary["digest"], "data": _data(url)}


def records(url: str) -> dict[str, str]:
    """Return every commit and snapshot by path: they must never change."""
    store = open_store(url)
    paths = [*store.list("commits"), *store.list("snapshots")]
    return {path: store.read(path).decode() for path in paths}


def check_whole(url: str, storage: StorageSettings | None = None) -> None:
    """Check what must always be true: each record can be read, and each file that a commit names exists."""
    store = open_store(url, storage)
    for path in (path for folder in RECORDS for path in store.list(folder)):
        json.loads(store.read(path))
    for path in store.list("commits"):
        record = json.loads(store.read(path))
        for file in filter(None, (record["evidence"], record["rejections"])):
            assert store.size(file["path"]) == file["size_bytes"], file["path"]
    if store.list("snapshots"):
        verify(url, storage=storage)


def _entries(url: str) -> tuple[SnapshotEntry, ...]:
    store = open_store(url)
    return tuple(snapshot_entries(store, latest_snapshot(store)))


def _files(entry: SnapshotEntry) -> list[str]:
    return [file.path for file in (entry.evidence, entry.rejections) if file is not None]


def _data(url: str) -> dict[str, str]:
    store = open_store(url)
    paths = [*store.list("data"), *store.list("rejected")]
    return {path: store.read(path).hex() for path in paths}
