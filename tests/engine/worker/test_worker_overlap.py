"""A worker with two units keeps its teacher busy: reading and committing overlap with it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from engine.reading.shard_cache import stat_shard
from engine.settings import InputSettings, RunSettings
from engine.storage.store import Store
from engine.task import Factory, Retry, Task, WorkerSpec
from engine.worker.worker import Worker
from schemas.ledger import FingerprintParts
from schemas.settings import EvidenceSettings
from tests.engine.small_teacher import HERE, SmallFinder, SmallLabeler, labeler_digest
from tests.engine.worlds import data_files, plain_captions, units_of, write_shard

PATIENCE_S = 30.0  # how long one thread waits for another before the test is given up
LONG_S = 3.0  # longer than the work of a unit on a busy machine


def make_worker(folder: Path, output: str = "out", **run: Any) -> Worker:
    (folder / "teacher.json").write_text("{}")
    settings = {"model": str(folder / "teacher.json")}
    arguments = {"settings": settings, "batch_size": 4, "min_score": 0.05}
    return Worker(
        WorkerSpec(
            output_url=str(folder / output),
            input=InputSettings(urls=("x",)),
            evidence=EvidenceSettings(),
            labeler=Factory(factory=f"{HERE}:labeler", arguments=arguments, digest=labeler_digest(settings)),
            finder=Factory(
                factory=f"{HERE}:finder", arguments={"settings": settings}, digest=SmallFinder.digest
            ),
            run=RunSettings(**run),
        )
    )


def make_tasks(folder: Path, one: Worker) -> list[Task]:
    """Return tasks for two units of eight samples."""
    stat = stat_shard(str(write_shard(folder / "a.tar", plain_captions(16))))
    facts = one.run(Task(shard=stat)).facts
    assert facts is not None
    parts = dict.fromkeys(FingerprintParts.model_fields, "sha256:x")
    return [
        Task(
            shard=stat,
            unit=unit,
            parts=FingerprintParts(**parts | {"first": unit.first, "count": unit.count}),
        )
        for unit in units_of(facts, 8)
    ]


def run_together(one: Worker, both: list[Task]) -> None:
    with ThreadPoolExecutor(2) as threads:
        outcomes = list(threads.map(one.run, both))
    assert [outcome.failure or outcome.abort for outcome in outcomes] == [None, None]


def test_the_next_unit_is_made_ready_while_one_is_is_teaching(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teacher of the first unit waits for a sample of the second: without overlap it would wait in vain."""
    prepared: set[str] = set()
    both_prepared = threading.Event()
    prepare, label = SmallLabeler.prepare, SmallLabeler.label

    def noting(self: SmallLabeler, sample: Any, image: Any) -> Any:
        prepared.add(sample.unit)
        if len(prepared) == 2:
            both_prepared.set()
        return prepare(self, sample, image)

    def waiting(self: SmallLabeler, batch: Any) -> Any:
        assert both_prepared.wait(PATIENCE_S), (
            "the second unit was not touched while the first was asked about"
        )
        return label(self, batch)

    one = make_worker(tmp_path)
    both = make_tasks(tmp_path, one)
    monkeypatch.setattr(SmallLabeler, "prepare", noting)
    monkeypatch.setattr(SmallLabeler, "label", waiting)

    run_together(one, both)

    assert len(data_files(tmp_path / "out")) == 2


def test_the_teacher_takes_the_next_unit_while_one_is_being_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store of the first unit waits for the teacher to be asked about the second."""
    asked: set[str] = set()
    both_asked = threading.Event()
    put, label = Store.put, SmallLabeler.label

    def noting(self: SmallLabeler, batch: Any) -> Any:
        asked.update(row.inputs[0].unit for row in batch if row)
        if len(asked) == 2:
            both_asked.set()
        return label(self, batch)

    def waiting(self: Store, path: str, data: bytes) -> None:
        assert both_asked.wait(PATIENCE_S), "the teacher idled while the first unit was stored"
        put(self, path, data)

    one = make_worker(tmp_path)
    both = make_tasks(tmp_path, one)
    monkeypatch.setattr(SmallLabeler, "label", noting)
    monkeypatch.setattr(Store, "put", waiting)

    run_together(one, both)

    assert len(data_files(tmp_path / "out")) == 2


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_and_overlap_change_no_byte(tmp_path: Path, threads: int) -> None:
    alone, shared = make_worker(tmp_path, "alone"), make_worker(tmp_path, "shared", prepare_threads=threads)
    both = make_tasks(tmp_path, alone)
    for task in both:
        alone.run(task)

    run_together(shared, both)

    assert data_files(tmp_path / "alone") == data_files(tmp_path / "shared")


def test_a_recalled_worker_finishes_what_the_teacher_has_and_gives_the_rest_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = make_worker(tmp_path)
    both = make_tasks(tmp_path, one)
    label = SmallLabeler.label
    is_teaching = threading.Event()
    is_handed_back = threading.Event()

    def waiting(self: SmallLabeler, batch: Any) -> Any:
        is_teaching.set()
        assert is_handed_back.wait(PATIENCE_S)
        return label(self, batch)

    monkeypatch.setattr(SmallLabeler, "label", waiting)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(one.run, both[0])
        assert is_teaching.wait(PATIENCE_S)
        second = threads.submit(one.run, both[1])

        one.recall()

        failure = second.result(PATIENCE_S).failure
        is_handed_back.set()
        assert first.result(PATIENCE_S).entry is not None
    assert failure is not None and (failure.code, failure.retry) == ("RECALLED", Retry.FREE)


def test_busy_time_is_without_the_loading_of_the_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = make_worker(tmp_path)
    task, _ = make_tasks(tmp_path, one)
    load = SmallLabeler.__init__

    def load_slowly(self: SmallLabeler, *arguments: Any) -> None:
        time.sleep(LONG_S)
        load(self, *arguments)

    monkeypatch.setattr(SmallLabeler, "__init__", load_slowly)

    busy_s = one.run(task).busy_s

    assert busy_s is not None and 0 < busy_s < LONG_S


def test_busy_time_is_without_the_wait_for_the_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = make_worker(tmp_path)
    both = make_tasks(tmp_path, one)
    is_teaching = threading.Event()
    label = SmallLabeler.label

    def label_slowly_once(self: SmallLabeler, batch: Any) -> Any:
        if not is_teaching.is_set():
            is_teaching.set()
            time.sleep(LONG_S)
        return label(self, batch)

    monkeypatch.setattr(SmallLabeler, "label", label_slowly_once)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(one.run, both[0])
        assert is_teaching.wait(PATIENCE_S)
        second = threads.submit(one.run, both[1])
        slow, waited = (ended.result(PATIENCE_S).busy_s for ended in (first, second))

    assert slow is not None and waited is not None and waited < LONG_S <= slow
