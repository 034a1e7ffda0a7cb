"""Outputs of earlier versions are still read: an output in `golden/` for each format, never written again."""

from __future__ import annotations

from pathlib import Path

from engine.ledger.commits import read_commit, record_bytes
from engine.ledger.snapshots.set_digest import SetDigest
from engine.ledger.snapshots.snapshots import latest_snapshot, snapshot_entries, snapshot_path
from engine.ledger.snapshots.summary import summarize
from engine.storage.store import open_store
from schemas.ledger import COMMIT_FORMAT, SNAPSHOT_FORMAT

GOLDEN = Path(__file__).parent / "golden" / "snapshot-2.0_commit-1.1"
DIGEST = "sha256:eac0622e0cac62db08492993799cbec0a2671ee6de9b87bc65c17dbd1e736b00"


def test_the_golden_output_is_of_todays_formats() -> None:
    """Check that a new format gets a golden output of its own."""
    assert GOLDEN.name == f"snapshot-{SNAPSHOT_FORMAT}_commit-{COMMIT_FORMAT}"


def test_a_golden_snapshot_gives_its_entries_and_its_digest() -> None:
    store = open_store(str(GOLDEN))
    snapshot = latest_snapshot(store)

    entries = list(snapshot_entries(store, snapshot))

    assert [entry.unit[17:] for entry in entries] == ["00000000", "00000002", "00000004"]
    assert [entry.quarantined for entry in entries] == [True, False, False]
    assert SetDigest().add((e.unit, e.rows_digest) for e in entries).value() == snapshot.digest == DIGEST
    assert record_bytes(snapshot) == store.read(snapshot_path(snapshot.version))
    assert summarize(snapshot)["samples"] == {
        "in": 6, "labelled": 5, "empty": 0, "rejected": {"CRASH": 1},
    }  # fmt: skip


def test_golden_commits_are_those_that_the_snapshot_names() -> None:
    store = open_store(str(GOLDEN))

    for entry in snapshot_entries(store, latest_snapshot(store)):
        record = read_commit(store, entry.unit, entry.fingerprint)
        assert record is not None and record.rows_digest == entry.rows_digest
        assert record.evidence.path == f"data/{entry.unit}/{entry.fingerprint[7:23]}/" + "0" * 16 + ".parquet"
