"""A worker's tasks end in outcomes, distinguished by what they mean for the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.reading.shard_cache import ShardCache, ShardStat, stat_shard
from engine.settings import InputSettings, StorageSettings
from engine.task import Factory, Retry, Task, Trust, WorkerSpec
from engine.worker.worker import Worker
from schemas.ledger import FingerprintParts
from schemas.settings import EvidenceSettings
from tests.engine.small_teacher import HERE, SmallFinder, labeler_digest
from tests.engine.worlds import plain_captions, units_of, write_shard


def make_worker(folder: Path, labeler: Factory | None = None, cache: ShardCache | None = None) -> Worker:
    (folder / "teacher.json").write_text("{}")
    settings = {"model": str(folder / "teacher.json")}
    arguments = {"settings": settings, "batch_size": 4, "min_score": 0.05}
    spec = WorkerSpec(
        output_url=str(folder / "out"),
        input=InputSettings(urls=("x",)),
        evidence=EvidenceSettings(),
        labeler=labeler
        or Factory(factory=f"{HERE}:labeler", arguments=arguments, digest=labeler_digest(settings)),
        finder=Factory(factory=f"{HERE}:finder", arguments={"settings": settings}, digest=SmallFinder.digest),
    )
    return Worker(spec, cache)


def first_unit(folder: Path, shard: Path) -> Task:
    facts = make_worker(folder).run(Task(shard=stat_shard(str(shard)))).facts
    assert facts is not None
    unit = units_of(facts, 8)[0]
    parts = dict.fromkeys(FingerprintParts.model_fields, "sha256:x")
    return Task(
        shard=stat_shard(str(shard)),
        unit=unit,
        parts=FingerprintParts(**parts | {"first": unit.first, "count": unit.count}),
    )


@pytest.mark.parametrize("factory", [f"{HERE}:no_such_maker", "no.such.module:make", f"{HERE}:SmallLabeler"])
def test_a_teacher_that_cannot_be_made_ends_the_run_instead_of_failing_unit_after_unit(
    tmp_path: Path, factory: str
) -> None:
    task = first_unit(tmp_path, write_shard(tmp_path / "a.tar", plain_captions(2)))

    outcome = make_worker(tmp_path, Factory(factory=factory, digest="sha256:x")).run(task)

    assert outcome.abort is not None and outcome.abort.error == "RuntimeEnvironmentError"
    assert "doctor" in outcome.abort.message


@pytest.mark.parametrize("indexing", [True, False])
def test_a_sandbox_that_cannot_open_the_store_ends_with_an_error_before_it_is_ready(
    tmp_path: Path, indexing: bool
) -> None:
    task = first_unit(tmp_path, write_shard(tmp_path / "a.tar", plain_captions(2)))
    task = task.model_copy(update={"trust": Trust.ISOLATED} | ({"unit": None} if indexing else {}))
    worker = make_worker(tmp_path)
    worker._spec = worker._spec.model_copy(update={"output_url": "zip://x"})  # as the sandbox sees it

    failure = worker.run(task).failure

    assert failure is not None and (failure.code, failure.retry) == ("TEACHER_ERROR", Retry.CHARGED)
    assert "before it held a sample" in failure.detail and "exit code 1" in failure.detail


def test_a_teacher_other_than_the_planned_one_ends_the_run(tmp_path: Path) -> None:
    task = first_unit(tmp_path, write_shard(tmp_path / "a.tar", plain_captions(2)))
    arguments = {
        "settings": {"model": str(tmp_path / "teacher.json")},
        "batch_size": 4,
        "min_score": 0.05,
    }

    outcome = make_worker(
        tmp_path, Factory(factory=f"{HERE}:labeler", arguments=arguments, digest="sha256:other")
    ).run(task)

    assert outcome.abort is not None and outcome.abort.error == "ConflictError"


def records(output: Path) -> list[Path]:
    """Return every file except the records of attempts."""
    return sorted(path for path in output.rglob("*.*") if path.relative_to(output).parts[0] != "attempts")


class SwappingCache(ShardCache):
    """A shard cache whose shard is replaced right after it was fetched."""

    def fetch(self, shard: ShardStat, storage: StorageSettings | None = None) -> Path:
        path = super().fetch(shard, storage)
        write_shard(path, plain_captions(3))
        return path


@pytest.mark.parametrize("reading", [True, False], ids=["read", "label"])
def test_a_shard_that_is_replaced_while_it_is_read_leaves_no_record(tmp_path: Path, reading: bool) -> None:
    shard = write_shard(tmp_path / "a.tar", plain_captions(2))
    task = Task(shard=stat_shard(str(shard))) if reading else first_unit(tmp_path, shard)
    before = records(tmp_path / "out")

    outcome = make_worker(tmp_path, cache=SwappingCache(str(tmp_path / "cache"))).run(task)

    assert outcome.failure is not None and outcome.failure.code == "INPUT_CHANGED"
    assert records(tmp_path / "out") == before
