from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

import engine.storage.retry
from engine.ledger.commits import commit_path, commit_unit, read_commit, to_snapshot_entry
from engine.ledger.evidence import read_evidence
from engine.ledger.fingerprint import MethodDigests, build_parts, describe_changes
from engine.ledger.rows import rows_digest
from engine.ledger.unit_result import UnitResult
from engine.storage.safe_parquet import table_bytes
from engine.storage.store import Store, open_store
from schemas.arrow import EVIDENCE, build_table
from schemas.digests import sha256_hex
from schemas.errors import ConflictError
from schemas.ledger import CommitRecord, Unit, unit_name

METHOD = MethodDigests(reading="sha256:r", teacher="sha256:t", phrases="sha256:p", evidence="sha256:e")
UNIT = Unit(
    name=unit_name("s3://b/a.tar", 0), shard="s3://b/a.tar", input_digest="sha256:i", first=0, count=3
)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.storage.retry, "FIRST_WAIT_S", 0.0)


def row(index: int, score: float = 0.5) -> dict:
    region = {"phrase": 0, "x0": 0.0, "y0": 0.0, "x1": 4.0, "y1": 4.0, "score": score, "pass_index": 0}
    return {
        "unit": UNIT.name,
        "shard": UNIT.shard,
        "index": index,
        "key": f"k{index}",
        "pixels": {"url": UNIT.shard, "offset": 512, "length": 9},
        "image_sha256": "0" * 64,
        "caption": "a cat",
        "meta": "{}",
        "width": 8,
        "height": 8,
        "exif_orientation": 1,
        "phrases": [
            {"begin": 0, "end": 5, "text": "a cat", "root": "cat", "kind": "chunk", "groundable": True}
        ],
        "dropped_phrases": [],
        "regions": [region] if index else [],
    }


def result(score: float = 0.5) -> UnitResult:
    refused = {"unit": UNIT.name, "index": 2, "key": "k2", "code": "IMG_EMPTY", "detail": "0 bytes"}
    return UnitResult([row(0), row(1, score)], [refused])


def commit(store: Store, outcome: UnitResult | None = None) -> CommitRecord:
    return commit_unit(
        store, UNIT, build_parts(UNIT, METHOD), outcome or result(), {"groundswell.teacher": "t"}
    )


class Faulty(Store):
    """A store whose n-th write fails: before it happens, or after it, if only the answer is lost."""

    def __init__(self, url: str, fail_at: int, arrives: bool, error: Callable[[], OSError]) -> None:
        super().__init__(url)
        self.writes, self._fail_at, self._arrives, self._error = 0, fail_at, arrives, error

    def _write(self, write: Callable[[], object]) -> object:
        self.writes += 1
        if self.writes != self._fail_at:
            return write()
        if self._arrives:
            write()
        raise self._error()

    def put(self, path: str, data: bytes) -> None:
        self._write(lambda: super(Faulty, self).put(path, data))

    def put_if_absent(self, path: str, data: bytes) -> bool:
        return bool(self._write(lambda: super(Faulty, self).put_if_absent(path, data)))


def test_a_commit_is_read_back_as_it_was_made(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))

    record = commit(store)

    assert read_commit(store, UNIT.name, record.fingerprint) == record
    assert (record.counts.labelled, record.counts.empty, record.counts.rejected) == (1, 1, {"IMG_EMPTY": 1})
    assert [row["key"] for row in read_evidence(store, to_snapshot_entry(record)).to_pylist()] == ["k0", "k1"]


def test_committing_twice_leaves_one_record(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))

    first, second = commit(store), commit(store)

    assert first == second
    assert len(store.list("commits")) == len(store.list("data")) == len(store.list("rejected")) == 1


def test_the_first_of_two_different_results_stands(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))

    first = commit(store, result(0.5))
    late = commit(store, result(0.6))

    assert late == first
    assert read_evidence(store, to_snapshot_entry(late)).to_pylist()[1]["regions"][0]["score"] == 0.5


def test_another_fingerprint_is_another_commit(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    commit(store)
    other = MethodDigests(reading="sha256:r", teacher="sha256:NEW", phrases="sha256:p", evidence="sha256:e")

    commit_unit(store, UNIT, build_parts(UNIT, other), result(), {})

    assert len(store.list("commits")) == 2
    assert describe_changes(build_parts(UNIT, METHOD), build_parts(UNIT, other)) == ["the teacher changed"]


@pytest.mark.parametrize("arrives", [False, True], ids=["before", "answer lost"])
@pytest.mark.parametrize("write", [1, 2, 3])
def test_a_write_that_fails_once_or_whose_answer_is_lost_is_no_lost_commit(
    tmp_path: Path, write: int, arrives: bool
) -> None:
    store = Faulty(str(tmp_path), write, arrives, lambda: TimeoutError("no answer"))

    record = commit(store)

    assert record == commit(open_store(str(tmp_path / "undisturbed")))
    assert read_commit(store, UNIT.name, record.fingerprint) == record
    assert store.writes == 4


def test_a_store_that_says_taken_for_our_own_write_does_not_make_us_lose(tmp_path: Path) -> None:
    """Check a retry beneath us, as of s3fs: the write succeeded, the retry finds the name taken (docs/ledger.md, 1)."""

    class Retrying(Store):
        def put_if_absent(self, path: str, data: bytes) -> bool:
            super().put_if_absent(path, data)
            return super().put_if_absent(path, data)

    store = Retrying(str(tmp_path))

    record = commit(store)

    assert read_commit(store, UNIT.name, record.fingerprint) == record
    assert store.exists(record.evidence.path)


def test_a_store_that_keeps_failing_is_an_error_and_no_commit(tmp_path: Path) -> None:
    class Broken(Store):
        def put(self, path: str, data: bytes) -> None:
            raise OSError(errno.EIO, "broken")

    with pytest.raises(OSError, match="broken"):
        commit(Broken(str(tmp_path)))

    assert open_store(str(tmp_path)).list("commits") == []


def test_a_short_write_is_found_before_the_commit(tmp_path: Path) -> None:
    class Short(Store):
        def put(self, path: str, data: bytes) -> None:
            super().put(path, data[:-1])

    with pytest.raises(OSError, match="bytes were stored"):
        commit(Short(str(tmp_path)))

    assert open_store(str(tmp_path)).list("commits") == []


def test_samples_that_do_not_add_up_are_not_committed(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    short = UnitResult(result().rows[:1], result().rejections)

    with pytest.raises(ValidationError, match="3 samples in the unit, 2 accounted for"):
        commit(store, short)

    assert store.list("commits") == []


def test_a_record_about_something_else_is_a_conflict(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    record = commit(store)
    path = tmp_path / commit_path(UNIT.name, record.fingerprint)
    other = json.loads(path.read_text())
    other["unit"]["name"] = "0" * 16 + "-00000000"
    path.write_text(json.dumps(other))

    with pytest.raises(ConflictError, match="describes"):
        read_commit(store, UNIT.name, record.fingerprint)


def test_a_flipped_byte_is_refused_by_the_reader(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    record = commit(store)
    path = tmp_path / record.evidence.path
    whole = path.read_bytes()
    for at in range(0, len(whole), max(len(whole) // 50, 1)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(ConflictError, match="bytes with sha256 .* expected"):
            read_evidence(store, to_snapshot_entry(record))


def test_equal_rows_are_equal_bytes_and_the_digest_is_over_content() -> None:
    one, two = (table_bytes(build_table(result().rows, EVIDENCE, {"a": "b"}), 256) for _ in range(2))
    other = table_bytes(build_table(result().rows, EVIDENCE, {"a": "c"}), 256)

    assert sha256_hex(one) == sha256_hex(two) != sha256_hex(other)
    assert rows_digest(result().rows, result().rejections) == rows_digest(
        result().rows[::-1], result().rejections
    )
    assert rows_digest(result(0.25).rows, []) != rows_digest(result().rows, [])
