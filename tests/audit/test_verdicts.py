"""The verdict store: what was acknowledged is there, once, whatever dies."""

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from types import SimpleNamespace

import pytest

from pipelines.audit.report import judge_with_truth
from pipelines.audit.sample import write_sample
from pipelines.audit.sampling import draw_sample
from pipelines.audit.verdicts import VerdictStore
from schemas.errors import ConflictError, NotFoundError, RuntimeEnvironmentError

KILLER = r"""
import os, random, signal, sys, time
from pathlib import Path
from pipelines.audit.sample import read_sample
from pipelines.audit.verdicts import VerdictStore
sample_path, db_path, acknowledged, rounds, mode = sys.argv[1:]
sample = read_sample(sample_path)

def write(reviewer):
    store = VerdictStore(db_path, sample)
    log = os.open(f"{acknowledged}-{reviewer}", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for number in range(10**6):
        item = sample.regions[number % len(sample.regions)].item
        name = f"{reviewer}-{number}"
        if mode == "acknowledge too early":
            os.write(log, f"{name}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)
        store.record(name, item, f"{reviewer} {number // len(sample.regions)}", "accept")
        os.write(log, f"{name}\n".encode())

def said(reviewer):
    log = Path(f"{acknowledged}-{reviewer}")
    return len(log.read_text().split()) if log.exists() else 0

chance = random.Random(0)
for round_ in range(int(rounds)):
    writers = {}
    for number in range(3):
        reviewer = f"r{round_}w{number}"
        writers[reviewer] = pid = os.fork()
        if pid == 0:
            write(reviewer)
    for reviewer, pid in writers.items():
        if mode == "acknowledge when kept":
            enough = chance.randrange(1, 12)
            while said(reviewer) < enough:
                time.sleep(0.0007)
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
"""


def sample_of(n=8, digest="sha256:" + "a" * 64):
    phrase = {"begin": 0, "end": 5, "text": "a dog", "root": "dog", "kind": "chunk"}
    region = {"phrase": 0, "x0": 1.0, "y0": 2.0, "x1": 30.0, "y1": 40.0, "score": 0.5, "fate": "positive"}
    rows = [
        {
            "unit": "u", "shard": "s.tar", "index": i, "key": f"{i:06d}", "pixels": {"url": "s.tar"},
            "image_sha256": "0" * 64, "width": 96, "height": 96, "caption": "a dog", "phrases": [phrase],
            "regions": [{**region, "origin": "teacher"}],
        }
        for i in range(n)
    ]  # fmt: skip
    view = SimpleNamespace(manifest=SimpleNamespace(digest=digest, provenance={}), rows=lambda: iter(rows))
    return draw_sample(view, seed=0, n=n, bins=1)


def events(path):
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [name for (name,) in db.execute("SELECT event_id FROM events ORDER BY seq")]


def kill_writers(tmp_path, rounds, mode):
    """Three writers at a time, each killed after some acknowledgements; returns everything acknowledged."""
    write_sample(sample_of(), tmp_path / "sample.json")
    arguments = [tmp_path / "sample.json", tmp_path / "v.db", tmp_path / "acknowledged", rounds, mode]
    subprocess.run([sys.executable, "-c", KILLER, *map(str, arguments)], check=True)
    return [name for log in tmp_path.glob("acknowledged-*") for name in log.read_text().split()]


def test_every_acknowledged_verdict_survives_sigkill(tmp_path):
    """15 kills. This is the death of processes; the death of the power rests on synchronous=FULL, checked below."""
    acknowledged = kill_writers(tmp_path, 5, "acknowledge when kept")
    kept = events(tmp_path / "v.db")

    assert len(acknowledged) >= 15
    assert set(acknowledged) <= set(kept)
    assert (
        len(kept) == len(set(kept)) <= len(acknowledged) + 15
    )  # at most one per kill was kept and not yet told


def test_the_kill_test_catches_a_writer_that_acknowledges_too_early(tmp_path):
    acknowledged = kill_writers(tmp_path, 1, "acknowledge too early")

    assert acknowledged and not set(acknowledged) & set(events(tmp_path / "v.db"))


def test_a_commit_is_forced_to_disk(tmp_path):
    store = VerdictStore(tmp_path / "v.db", sample_of())
    with store._transaction() as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_the_same_event_sent_twice_is_one_event_and_another_under_its_id_is_refused(tmp_path):
    sample = sample_of()
    store = VerdictStore(tmp_path / "v.db", sample)
    first, second = sample.regions[0].item, sample.regions[1].item

    assert store.record("e1", first, "ann", "accept") == store.record("e1", first, "ann", "accept")
    assert events(tmp_path / "v.db") == ["e1"]
    with pytest.raises(ConflictError, match="one event only"):
        store.record("e1", second, "ann", "accept")


def test_a_second_tab_cannot_overwrite_a_verdict_and_is_told_both(tmp_path):
    sample = sample_of()
    item = sample.regions[0].item
    VerdictStore(tmp_path / "v.db", sample).record("tab1", item, "ann", "accept")

    with pytest.raises(ConflictError, match="'accept'.*'reject'"):
        VerdictStore(tmp_path / "v.db", sample).record("tab2", item, "ann", "reject")
    VerdictStore(tmp_path / "v.db", sample).record("other", item, "bob", "reject")
    assert [one.verdict for one in VerdictStore(tmp_path / "v.db", sample).list_verdicts("ann")] == ["accept"]


def test_undo_is_an_event_and_the_item_can_be_judged_again_after_a_restart(tmp_path):
    sample = sample_of()
    item = sample.regions[0].item
    VerdictStore(tmp_path / "v.db", sample).record("e1", item, "ann", "accept")
    again = VerdictStore(tmp_path / "v.db", sample)
    assert again.undo("u1", "e1", "ann").item == item
    again.undo("u1", "e1", "ann")  # sent again
    again.record("e2", item, "ann", "reject")

    assert again.verdicts().by_item == {item: "reject"}
    assert events(tmp_path / "v.db") == ["e1", "u1", "e2"]
    with pytest.raises(ConflictError, match="undone before; give a new one"):
        again.undo("u2", "e1", "ann")
    with pytest.raises(NotFoundError):
        again.undo("u3", "e2", "bob")


def test_events_can_be_neither_changed_nor_removed(tmp_path):
    sample = sample_of()
    VerdictStore(tmp_path / "v.db", sample).record("e1", sample.regions[0].item, "ann", "accept")

    with closing(sqlite3.connect(tmp_path / "v.db")) as db:
        for statement in ("UPDATE events SET kind = 'reject'", "DELETE FROM events"):
            with pytest.raises(sqlite3.IntegrityError, match="append only"):
                db.execute(statement)


def test_eight_reviewers_at_once_lose_nothing(tmp_path):
    sample = sample_of(20)
    VerdictStore(tmp_path / "v.db", sample)

    def review(name):
        store = VerdictStore(tmp_path / "v.db", sample)
        for region in sample.regions:
            store.record(f"{name}-{region.item}", region.item, name, "accept")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(review, [f"r{number}" for number in range(8)]))
    assert len(events(tmp_path / "v.db")) == 160


def test_a_locked_database_is_a_known_trouble_and_keeps_no_half_event(tmp_path, monkeypatch):
    sample = sample_of()
    store = VerdictStore(tmp_path / "v.db", sample)
    connect = sqlite3.connect
    holder = connect(tmp_path / "v.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(sqlite3, "connect", lambda path, **how: connect(path, **{**how, "timeout": 0.05}))

    with pytest.raises(RuntimeEnvironmentError, match="try again"):
        store.record("e1", sample.regions[0].item, "ann", "accept")
    holder.execute("ROLLBACK")
    holder.close()
    assert events(tmp_path / "v.db") == []


def test_a_file_belongs_to_one_sample_and_one_reviewer_is_named(tmp_path):
    sample = sample_of()
    store = VerdictStore(tmp_path / "v.db", sample)
    assert store.verdicts().by_item == {}
    store.record("e1", sample.regions[0].item, "ann", "accept")
    store.record("e2", sample.regions[0].item, "bob", "reject")

    with pytest.raises(ConflictError, match="another|choose"):
        VerdictStore(tmp_path / "v.db", sample_of(digest="sha256:" + "b" * 64))
    with pytest.raises(ConflictError, match="ann, bob"):
        store.verdicts()
    assert store.verdicts("bob").by_item == {sample.regions[0].item: "reject"}
    with pytest.raises(NotFoundError, match="not in the sample"):
        store.record("e3", "made up", "ann", "accept")


def test_a_programs_verdicts_are_kept_as_such_and_a_persons_come_before_them(tmp_path):
    sample = sample_of()
    store = VerdictStore(tmp_path / "v.db", sample)
    theirs = judge_with_truth(sample, lambda region: [])
    store.record_all(theirs)
    store.record_all(theirs)

    assert store.verdicts() == theirs and len(events(tmp_path / "v.db")) == 8
    with pytest.raises(ConflictError, match="is a truth in this file"):
        store.record("e1", sample.regions[0].item, theirs.reviewer, "accept")
    store.record("e1", sample.regions[0].item, "ann", "accept")
    assert (store.verdicts().reviewer, store.verdicts().reviewer_kind) == ("ann", "person")
    assert store.verdicts(theirs.reviewer).reviewer_kind == "truth"


def test_a_review_is_kept_whole_or_not_at_all(tmp_path):
    sample = sample_of()
    theirs = judge_with_truth(sample, lambda region: [])
    broken = theirs.model_copy(update={"by_item": {**theirs.by_item, "zzz": "accept"}})

    with pytest.raises(NotFoundError):
        VerdictStore(tmp_path / "v.db", sample).record_all(broken)
    assert events(tmp_path / "v.db") == []
