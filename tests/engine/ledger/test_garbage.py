"""Garbage collection removes exactly the files that lost to an existing commit, and nothing that may still win."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine.storage.local_files
from engine.ledger.commits import commit_path, commit_unit
from engine.ledger.epochs import claim_epoch
from engine.ledger.fingerprint import build_parts
from engine.ledger.garbage import collect_garbage
from engine.ledger.unit_result import UnitResult
from engine.storage.store import Store, open_store
from schemas.digests import shorten_digest
from schemas.errors import ConflictError
from schemas.ledger import CommitRecord, Unit, unit_name
from tests.engine.ledger.test_commits import METHOD, row
from tests.engine.ledger.test_snapshots import OTHER

SHARD = "s3://b/a.tar"


def unit(number: int) -> Unit:
    return Unit(name=unit_name(SHARD, 2 * number), shard=SHARD, input_digest="i", first=2 * number, count=2)


def result(of: Unit, score: float, refuse: bool) -> UnitResult:
    """Return two samples; the attempt's score distinguishes its bytes from another attempt's."""
    rows = [row(of.first + place, score) | {"unit": of.name} for place in range(2 - refuse)]
    refused = {"unit": of.name, "index": of.first + 1, "key": "k", "code": "CRASH", "detail": str(score)}
    return UnitResult(rows, [refused] if refuse else [])


class Dying(Store):
    """Dies before it creates a commit record: its data stays without one."""

    def put_if_absent(self, path: str, data: bytes) -> bool:
        if path.startswith("commits/"):
            raise KeyboardInterrupt
        return super().put_if_absent(path, data)


def attempt(url: str, number: int, score: float, refuse: bool, dies: bool) -> None:
    store = Dying(url) if dies else open_store(url)
    try:
        commit_unit(
            store, unit(number), build_parts(unit(number), METHOD), result(unit(number), score, refuse), {}
        )
    except KeyboardInterrupt:
        assert dies


def files(store: Store) -> set[str]:
    return {*store.list("data"), *store.list("rejected")}


def commits(store: Store) -> dict[str, CommitRecord]:
    return {path: CommitRecord.model_validate_json(store.read(path)) for path in store.list("commits")}


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from([0.25, 0.5, 0.75]), st.booleans(), st.booleans()),
        max_size=8,
    )
)
def test_exactly_the_losers_of_decided_units_are_removed(
    attempts: list[tuple[int, float, bool, bool]],
) -> None:
    url = f"memory://{uuid.uuid4().hex}"
    store = open_store(url)
    for number, score, refuse, dies in attempts:
        attempt(url, number, score, refuse, dies)
    standing = commits(store)
    named = {
        file.path for commit in standing.values() for file in (commit.evidence, commit.rejections) if file
    }
    decided = {path.removeprefix("commits/").removesuffix(".json") for path in standing}
    lost = {path for path in files(store) - named if "/".join(path.split("/")[1:3]) in decided}
    before = files(store)

    collected = collect_garbage(store)

    assert set(collected.deleted) == lost
    assert files(store) == before - lost
    assert collected.undecided == len(before - lost - named)
    assert commits(store) == standing
    assert collect_garbage(store).deleted == ()


def orphan(url: str, number: int = 0) -> None:
    attempt(url, number, 0.25, False, dies=True)
    attempt(url, number, 0.75, False, dies=False)


def test_another_fingerprint_of_a_decided_unit_is_undecided(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    orphan(str(tmp_path))
    other = build_parts(unit(0), OTHER)
    with pytest.raises(KeyboardInterrupt):
        commit_unit(Dying(str(tmp_path)), unit(0), other, result(unit(0), 0.5, False), {})

    collected = collect_garbage(store)

    assert (len(collected.deleted), collected.undecided) == (1, 1)
    assert commit_unit(store, unit(0), other, result(unit(0), 0.5, False), {}).evidence.path in files(store)


def test_a_file_of_an_unknown_form_is_left(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    orphan(str(tmp_path))
    store.put(f"data/{unit(0).name}/0123456789abcdef.parquet", b"by an earlier version")
    store.put("data/mine.txt", b"somebody's")

    collected = collect_garbage(store)

    assert (len(collected.deleted), collected.foreign) == (1, 2)
    assert store.exists("data/mine.txt")


def test_a_commit_that_cannot_be_read_stops_the_collection(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    orphan(str(tmp_path))
    path = tmp_path / commit_path(unit(0).name, build_parts(unit(0), METHOD).fingerprint())
    path.write_bytes(b"{}")

    with pytest.raises(ConflictError, match="cannot be read"):
        collect_garbage(store)

    assert len(files(store)) == 2


class Overtaken(Store):
    """Starts a run as soon as the collection has read the commits."""

    def read(self, path: str) -> bytes:
        if path.startswith("commits/"):
            claim_epoch(open_store(self.url), "label", "sha256:other")
        return super().read(path)


def test_a_collection_that_is_overtaken_deletes_nothing_more(tmp_path: Path) -> None:
    orphan(str(tmp_path))

    with pytest.raises(ConflictError, match="epoch 2 was claimed by"):
        collect_garbage(Overtaken(str(tmp_path)))

    assert len(files(open_store(str(tmp_path)))) == 2


class Collecting(Store):
    """Collects its data files as soon as they are written, if that is allowed."""

    def put(self, path: str, data: bytes) -> None:
        super().put(path, data)
        collect_garbage(open_store(self.url))


def test_a_writer_whose_file_is_collected_under_it_takes_the_record_that_stands(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    parts = build_parts(unit(0), METHOD)
    first = commit_unit(store, unit(0), parts, result(unit(0), 0.75, False), {})

    late = commit_unit(Collecting(str(tmp_path)), unit(0), parts, result(unit(0), 0.25, False), {})

    assert late == first
    assert files(store) == {first.evidence.path}


def test_a_writer_whose_unit_is_undecided_loses_nothing_to_a_collection(tmp_path: Path) -> None:
    parts = build_parts(unit(0), METHOD)

    record = commit_unit(Collecting(str(tmp_path)), unit(0), parts, result(unit(0), 0.25, True), {})

    assert record.rejections is not None
    assert files(open_store(str(tmp_path))) == {record.evidence.path, record.rejections.path}


def test_half_written_files_go_when_their_process_is_dead_and_stay_when_it_lives(tmp_path: Path) -> None:
    code = (
        "import os, sys, engine.storage.local_files as f\n"
        "os.fsync = lambda handle: os._exit(0)\n"
        "f.create_file(sys.argv[1] + '/data/record', b'half')\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    with engine.storage.local_files._open_temporary(str(tmp_path / "data" / "mine")) as (mine, _):
        pass
    elsewhere = tmp_path / "data" / ".tmp-000000000000-1-abcd"
    elsewhere.write_bytes(b"of another machine")

    collected = collect_garbage(open_store(str(tmp_path)))

    assert len(collected.abandoned) == 1
    assert {str(path) for path in (tmp_path / "data").iterdir()} == {mine, str(elsewhere)}


def test_paths_say_which_commit_decides(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    attempt(str(tmp_path), 0, 0.5, True, dies=False)
    fingerprint16 = shorten_digest(build_parts(unit(0), METHOD).fingerprint())

    assert {path.rsplit("/", 1)[0] for path in files(store)} == {
        f"data/{unit(0).name}/{fingerprint16}",
        f"rejected/{unit(0).name}/{fingerprint16}",
    }
