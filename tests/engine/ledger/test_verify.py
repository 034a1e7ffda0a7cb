from __future__ import annotations

import copy
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.ledger.snapshots import publisher
from engine.ledger.verify import row_problems, verify
from engine.storage.store import Store
from engine.threads import map_ordered
from pipelines.label.run import label
from schemas.errors import ConflictError
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import job_of, plain_captions, write_shard

AT_ONCE_HERE = 3  # of 12 units, so that all of them meet

ROW: dict[str, Any] = {
    "index": 0,
    "key": "k",
    "caption": "a cat on a mat",
    "width": 20,
    "height": 10,
    "phrases": [
        {"begin": 0, "end": 5, "text": "a cat"},
        {"begin": None, "end": None, "text": "a submarine"},
    ],
    "dropped_phrases": [{"begin": 9, "end": 14, "text": "a mat", "code": "PH_STOP_HEAD"}],
    "regions": [{"phrase": 1, "x0": 0.0, "y0": 0.0, "x1": 20.0, "y1": 10.0, "score": 1.0}],
}


def changed(change: Callable[[dict[str, Any]], None]) -> list[str]:
    row = copy.deepcopy(ROW)
    change(row)
    return list(row_problems(row))


def test_units_are_read_side_by_side_and_told_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captions = plain_captions(12)
    job = job_of(tmp_path, [write_shard(tmp_path / "0.tar", captions)], input={"unit_samples": 1})
    label(job, factories=FACTORIES)
    data = sorted((tmp_path / "out" / "data").iterdir())
    for path in data:
        shutil.rmtree(path)
    together, read = threading.Barrier(AT_ONCE_HERE), Store.read

    def met(store: Store, path: str) -> bytes:
        if path.startswith("data/"):
            together.wait(timeout=10)  # breaks when they come one by one
        return read(store, path)

    monkeypatch.setattr(Store, "read", met)
    done_counts: list[int] = []

    with pytest.raises(ConflictError, match="12 problems") as caught:
        verify(str(tmp_path / "out"), progress=lambda name, done, total: done_counts.append(done))

    assert [line.split(":")[0] for line in str(caught.value).splitlines()[1:]] == [path.name for path in data]
    assert done_counts == list(range(1, 13))


def label_with_failed_units(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Label a shard of two units; of two others, which are no tars, the second is in the file of failed units."""
    monkeypatch.setattr(publisher, "FAILED_LISTED", 1)
    shards = [write_shard(folder / "0.tar", plain_captions(2)), folder / "1.tar", folder / "2.tar"]
    for shard in shards[1:]:
        shard.write_bytes(b"no tar" * 1000)
    label(job_of(folder, shards, input={"unit_samples": 1}), factories=FACTORIES)
    assert len(list((folder / "out" / "segments").glob("*-failed-*"))) == 1
    return folder / "out"


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_a_damaged_file_of_failed_units_hides_no_other_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    out = label_with_failed_units(tmp_path, monkeypatch)
    shutil.rmtree(sorted((out / "data").iterdir())[0])
    [rest] = (out / "segments").glob("*-failed-*")
    if damage == "gone":
        rest.unlink()
    else:
        rest.write_bytes(b"x")

    with pytest.raises(ConflictError, match="2 problems") as caught:
        verify(str(out))

    first, second = str(caught.value).splitlines()[1:]
    assert "data/" in first and rest.name in second and "run the job again" in second


def test_a_damaged_segment_hides_no_other_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = label_with_failed_units(tmp_path, monkeypatch)
    for path in (out / "segments").iterdir():
        path.unlink()

    with pytest.raises(ConflictError, match="2 problems") as caught:
        verify(str(out))

    first, second = str(caught.value).splitlines()[1:]
    assert "not all units were checked" in first and "move snapshots/ away" in first and "-failed-" in second


def test_no_more_is_read_ahead_than_asked() -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(50):
            taken.append(number)
            yield number

    for number in map_ordered(lambda n: n, numbers(), max_pending=4):
        assert len(taken) <= number + 4
    assert taken == list(range(50))


def test_the_first_error_ends_it() -> None:
    with pytest.raises(ZeroDivisionError):
        list(map_ordered(lambda n: 1 / n, [1, 0, 2]))


def test_a_row_that_keeps_the_rules_has_no_problem() -> None:
    assert list(row_problems(ROW)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda row: row["phrases"][0].update(end=6), "is 'a cat '"),
        (lambda row: row["dropped_phrases"][0].update(text="a hat"), "not 'a hat'"),
        (lambda row: row["regions"][0].update(phrase=2), "phrase 2 of 2"),
        (lambda row: row["regions"][0].update(x1=20.5), "outside the image of 20 x 10"),
        (lambda row: row["regions"][0].update(y0=10.0), "is empty"),
        (lambda row: row["regions"][0].update(x0=float("nan")), "not finite"),
        (lambda row: row["regions"][0].update(score=float("inf")), "not finite"),
        (lambda row: row["regions"][0].update(score=1.5), "outside 0..1"),
    ],
)
def test_each_broken_rule_is_named(change: Callable[[dict[str, Any]], None], words: str) -> None:
    problems = changed(change)

    assert len(problems) == 1 and words in problems[0]
