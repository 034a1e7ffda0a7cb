"""A sample that kills its process is found within the promised number of processes and costs no other sample a row."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.ledger.unit_result import UnitResult
from engine.task import Task, Trust
from engine.worker.errors import NoSampleToBlameError, SandboxDiedError
from engine.worker.sandbox.bisection import SUSPICIOUS, isolate
from pipelines.label.run import label
from schemas.ledger import Unit
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import data_files, job_of, plain_captions, write_shard

ACCIDENTS = {
    "deadly": "CRASH",
    "segfaulting": "CRASH",
    "selfexiting": "CRASH",
    "neverending": "TIMEOUT",
    "memorygorging": "OOM",
    "memorystarving": "OOM",
}
BRIEF_S, LONG_S = 2.0, 60.0  # only what hangs is waited for briefly: a busy machine is slow with the rest


def unit(count: int, first: int = 0) -> Unit:
    return Unit(name="u", shard="s", input_digest="sha256:x", first=first, count=count)


class Processes:
    """Attempts that die of one of the poisons, or of all samples of a set that is deadly only together."""

    def __init__(self, poisons: Collection[int], together: Collection[int] = ()) -> None:
        self.poisons, self.together = set(poisons), set(together)
        self.spans: list[range] = []

    def __call__(self, span: range) -> UnitResult:
        self.spans.append(span)
        samples = set(span)
        if samples & self.poisons or (self.together and self.together <= samples):
            raise SandboxDiedError("CRASH", "SIGKILL", key=f"key{span.start}" if len(span) == 1 else "")
        return UnitResult([{"index": index} for index in span])

    def tried_alone(self) -> set[int]:
        return {span.start for span in self.spans if len(span) == 1}


@given(st.integers(1, 300), st.integers(0, 1000), st.data())
def test_poisons_are_found_within_the_promised_attempts(count: int, first: int, data: st.DataObject) -> None:
    inside = st.integers(first, first + count - 1)
    poisons = data.draw(st.sets(inside, max_size=min(5, count - 1)))
    if len(poisons) >= SUSPICIOUS:  # see the tests on broken teachers
        poisons.discard(first + count - 1)
    attempt = Processes(poisons)

    labeled = isolate(unit(count, first), attempt)

    rejected = {row["index"]: row for row in labeled.rejections}
    assert rejected.keys() == poisons <= attempt.tried_alone()
    assert all(row["code"] == "CRASH" and row["key"] == f"key{index}" for index, row in rejected.items())
    assert [row["index"] for row in labeled.rows] == sorted(set(range(first, first + count)) - poisons)
    control = len(poisons) >= SUSPICIOUS
    assert len(attempt.spans) <= 1 + 2 * math.ceil(math.log2(count)) * len(poisons) + control


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 512, 1000])
@pytest.mark.parametrize("position", ["first", "middle", "last"])
def test_one_poison_costs_at_most_three_and_two_log_n_with_the_worker_that_died(
    count: int, position: str
) -> None:
    index = {"first": 0, "middle": count // 2, "last": count - 1}[position]
    attempt = Processes({index})

    isolate(unit(count), attempt)

    deaths_of_workers = 2  # the second only when the unit waited in the first, behind another unit
    assert deaths_of_workers + len(attempt.spans) <= 3 + 2 * math.ceil(math.log2(count))


def test_samples_that_die_only_together_are_all_labeled_and_nobody_is_convicted() -> None:
    labeled = isolate(unit(8), Processes((), together={2, 5}))

    assert [row["index"] for row in labeled.rows] == list(range(8))
    assert labeled.rejections == [] and not labeled.is_quarantined


def test_when_every_process_dies_no_sample_is_convicted_and_few_are_spent() -> None:
    attempt = Processes(range(512))

    with pytest.raises(NoSampleToBlameError, match="whichever sample they hold"):
        isolate(unit(512), attempt)

    assert len(attempt.spans) <= 3 + 2 * math.ceil(math.log2(512))
    with pytest.raises(NoSampleToBlameError):
        isolate(unit(2), Processes(range(2)))


def test_many_poisons_in_a_row_are_believed_when_another_sample_lives() -> None:
    labeled = isolate(unit(64), Processes(range(40)))

    assert [row["index"] for row in labeled.rejections] == list(range(40))


def test_a_sample_whose_process_named_no_key_is_not_given_its_position_for_one() -> None:
    def attempt(span: range) -> UnitResult:
        if 1 in span:
            raise SandboxDiedError("CRASH", "died while it read")
        return UnitResult([], [])

    labeled = isolate(unit(2), attempt)

    assert [(row["index"], row["key"]) for row in labeled.rejections] == [(1, "")]


def count_processes(folder: Path) -> int:
    return len(list(folder.glob("worker-*")))


def make_job(folder: Path, captions: list[str]):
    (folder / "teacher.json").write_text(f'{{"announce": "{folder}"}}')
    patience_s = BRIEF_S if any("neverending" in caption for caption in captions) else LONG_S
    run = {"sample_timeout_s": patience_s, "memory_limit_gb": 0.4}
    return job_of(folder, [write_shard(folder / "a.tar", captions)], run=run)


def isolate_every_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the local executor run its tasks like the Ray pool after a worker's death."""
    from engine.executors.local import LocalPool

    submit = LocalPool.submit

    def as_after_a_death(pool: LocalPool, task: Task) -> None:
        submit(pool, task.model_copy(update={"trust": Trust.ISOLATED}))

    monkeypatch.setattr(LocalPool, "submit", as_after_a_death)


@pytest.mark.parametrize(("accident", "code"), ACCIDENTS.items())
def test_a_sample_alone_is_rejected_by_the_way_its_process_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accident: str, code: str
) -> None:
    isolate_every_unit(monkeypatch)
    job = make_job(tmp_path, [f"a {accident} cat"])

    summary = label(job, factories=FACTORIES)

    assert summary["units"]["quarantined"] == 1
    assert summary["samples"] == {"in": 1, "labelled": 0, "empty": 0, "rejected": {code: 1}}
    assert count_processes(tmp_path) == 1


def check_found(folder: Path, accidents: dict[int, str], count: int) -> None:
    captions = plain_captions(count)
    for index, accident in accidents.items():
        captions[index] = f"{accident} {captions[index]}"
    job = make_job(folder, captions)
    job = job.model_copy(update={"input": job.input.model_copy(update={"unit_samples": count})})

    summary = label(job, factories=FACTORIES)

    codes = [ACCIDENTS[accident] for accident in accidents.values()]
    assert summary["samples"]["rejected"] == {code: codes.count(code) for code in set(codes)}
    assert summary["units"]["committed"] == summary["units"]["quarantined"] == 1
    assert count_processes(folder) <= 1 + 2 * math.ceil(math.log2(count)) * len(accidents)


def test_the_rows_of_the_others_are_those_of_an_undisturbed_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq

    clean = job_of(
        tmp_path,
        [write_shard(tmp_path / "a.tar", plain_captions(3))],
        output={"url": str(tmp_path / "clean")},
    )
    label(clean, factories=FACTORIES)
    isolate_every_unit(monkeypatch)
    whole = job_of(tmp_path, [tmp_path / "a.tar"], output={"url": str(tmp_path / "whole")})
    label(whole, factories=FACTORIES)
    assert data_files(tmp_path / "whole") == data_files(tmp_path / "clean")

    check_found(tmp_path, {2: "segfaulting"}, 3)

    [path] = [name for name in data_files(tmp_path / "out") if name.startswith("data")]
    [before] = data_files(tmp_path / "clean")
    rows = pq.read_table(tmp_path / "out" / path).to_pylist()
    expected = [row for row in pq.read_table(tmp_path / "clean" / before).to_pylist() if row["index"] != 2]
    place = ("pixels",)  # the archive is longer by a word
    assert [{**row, **dict.fromkeys(place)} for row in rows] == [
        {**row, **dict.fromkeys(place)} for row in expected
    ]


@pytest.mark.slow
@pytest.mark.parametrize("accident", ACCIDENTS)
@pytest.mark.parametrize("index", [0, 16, 31])
def test_every_accident_is_found_wherever_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accident: str, index: int
) -> None:
    isolate_every_unit(monkeypatch)
    check_found(tmp_path, {index: accident}, 32)


@pytest.mark.slow
def test_accidents_of_all_kinds_in_one_unit_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    isolate_every_unit(monkeypatch)
    check_found(
        tmp_path,
        {0: "deadly", 7: "neverending", 8: "memorygorging", 20: "selfexiting", 31: "memorystarving"},
        32,
    )


def test_memory_that_runs_out_while_a_sample_is_made_ready_costs_that_sample(tmp_path: Path) -> None:
    """This is the one accident that the local executor survives, so it isolates the unit itself."""
    captions = plain_captions(4)
    captions[1] += " memorystarving"

    summary = label(make_job(tmp_path, captions), factories=FACTORIES)

    assert summary["samples"]["rejected"] == {"OOM": 1}
    assert count_processes(tmp_path) <= 1 + 1 + 2 * math.ceil(math.log2(4))


def test_a_teacher_that_dies_while_it_is_made_fails_the_unit_and_convicts_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    isolate_every_unit(monkeypatch)
    job = make_job(tmp_path, plain_captions(2))
    (tmp_path / "teacher.json").write_text('{"dies_when_made": true}')

    summary = label(job, factories=FACTORIES)

    assert summary["units"]["failed"] == 1 and summary["samples"]["in"] == 0
    assert summary["failures"][0]["code"] == "TEACHER_ERROR"
    assert "before it held a sample" in summary["failures"][0]["detail"]
