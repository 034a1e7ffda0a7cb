from __future__ import annotations

import threading
from collections import Counter, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.driver.dispatch import MAX_ATTEMPTS, run_tasks
from engine.reading.shard_cache import ShardStat
from engine.task import Abort, Failure, Outcome, Retry, Task
from engine.threads import prefetch, prefetch_map
from schemas.errors import GroundswellError, RuntimeEnvironmentError
from schemas.ledger import Unit


def task(number: int) -> Task:
    return Task(shard=ShardStat(f"s3://b/{number}.tar", 1, "v"))


class ScriptedPool:
    """A pool whose tasks end by a script: for each shard some failures, then success."""

    def __init__(self, script: dict[str, list[Failure]], room: int = 3) -> None:
        self.script, self.room = {url: list(fates) for url, fates in script.items()}, room
        self.running: deque[Task] = deque()
        self.dispatched = Counter[str]()
        self.away = 0

    def capacity(self, remaining: int | None = None) -> int:
        return 0 if self.away else self.room - len(self.running)

    def wait_for_capacity(self) -> None:
        self.away = 0

    def submit(self, item: Task) -> None:
        assert self.capacity() > 0
        self.dispatched[item.shard.url] += 1
        self.running.append(item)

    def count_in_flight(self) -> int:
        return len(self.running)

    def next_outcome(self) -> Outcome:
        item = self.running.popleft()
        fates = self.script.get(item.shard.url, [])
        return Outcome(task=item, failure=fates.pop(0)) if fates else Outcome(task=item)

    def close(self) -> None:
        """Do nothing."""


class ListedWork:
    def __init__(self, count: int) -> None:
        self.todo = deque(task(number) for number in range(count))
        self.settled: list[Outcome] = []

    def next_task(self) -> Task | None:
        return self.todo.popleft() if self.todo else None

    def count_remaining(self) -> int:
        return len(self.todo)

    def settle(self, outcome: Outcome) -> None:
        self.settled.append(outcome)


PASSING = Failure(code="STORE_ERROR", detail="503", retry=Retry.CHARGED)
FINAL = Failure(code="SHARD_TRUNCATED", detail="cut")
BLAMELESS = Failure(code="WORKER_DIED", detail="preempted", retry=Retry.FREE)


@given(
    st.lists(st.lists(st.sampled_from([PASSING, FINAL, BLAMELESS]), max_size=6), max_size=8),
    st.integers(1, 4),
)
def test_every_task_ends_in_exactly_one_outcome(fates: list[list[Failure]], room: int) -> None:
    work = ListedWork(len(fates))

    run_tasks(ScriptedPool({f"s3://b/{n}.tar": fate for n, fate in enumerate(fates)}, room), work)

    assert sorted(o.task.name for o in work.settled) == sorted(task(n).name for n in range(len(fates)))


def test_a_retryable_failure_is_tried_again_a_bounded_number_of_times() -> None:
    pool, work = ScriptedPool({"s3://b/0.tar": [PASSING] * 2, "s3://b/1.tar": [PASSING] * 9}), ListedWork(2)

    run_tasks(pool, work)

    fates = {outcome.task.shard.url: outcome.failure for outcome in work.settled}
    assert fates["s3://b/0.tar"] is None
    assert fates["s3://b/1.tar"] == PASSING
    assert pool.dispatched["s3://b/1.tar"] == MAX_ATTEMPTS


def test_the_loop_waits_for_a_pool_that_lost_all_its_workers() -> None:
    class Losing(ScriptedPool):
        def next_outcome(self) -> Outcome:
            outcome = super().next_outcome()
            self.away = outcome.failure is not None  # the worker died; its replacement is still starting
            return outcome

    pool, work = Losing({"s3://b/0.tar": [BLAMELESS], "s3://b/1.tar": [PASSING]}, room=1), ListedWork(3)

    run_tasks(pool, work)

    assert [outcome.failure for outcome in work.settled] == [None] * 3


def test_asked_to_stop_while_no_worker_has_capacity_the_loop_ends_and_dispatches_nothing() -> None:
    asked: list[bool] = []

    class NoCapacityAnyMore(ScriptedPool):
        def capacity(self, remaining: int | None = None) -> int:
            return 0

        def wait_for_capacity(self) -> None:
            asked.append(True)

    pool, work = NoCapacityAnyMore({}), ListedWork(2)

    run_tasks(pool, work, stopping=lambda: bool(asked))

    assert (len(asked), work.settled, pool.dispatched) == (1, [], Counter())


def test_deaths_leave_a_unit_its_tries_against_a_store_that_fails() -> None:
    died = Failure(code="WORKER_DIED", detail="SIGKILL", retry=Retry.CHARGED)
    pool, work = ScriptedPool({"s3://b/0.tar": [died] * 4 + [PASSING] * (MAX_ATTEMPTS - 1)}), ListedWork(1)

    run_tasks(pool, work)

    assert work.settled[0].failure is None


def test_a_blameless_failure_is_no_attempt(caplog: pytest.LogCaptureFixture) -> None:
    pool, work = ScriptedPool({"s3://b/0.tar": [BLAMELESS] * 10}), ListedWork(1)

    run_tasks(pool, work)

    assert work.settled[0].failure is None and pool.dispatched["s3://b/0.tar"] == 11
    assert {line.rpartition("(")[2] for line in caplog.messages} == {"handed over, not charged)"}


def test_attempts_are_counted_from_one(caplog: pytest.LogCaptureFixture) -> None:
    run_tasks(ScriptedPool({"s3://b/0.tar": [PASSING] * 2}), ListedWork(1))

    assert [line.rpartition("(")[2] for line in caplog.messages] == ["attempt 1 of 3)", "attempt 2 of 3)"]


def test_what_reading_a_shard_cost_is_not_charged_to_its_first_unit() -> None:
    shard = task(0)
    unit = Unit(name=shard.name, shard=shard.shard.url, input_digest="sha256:x", first=0, count=1)
    almost = [PASSING] * (MAX_ATTEMPTS - 1)
    pool = ScriptedPool({shard.shard.url: almost}, room=1)

    class TrippingOnTheUnitToo(ListedWork):
        def settle(self, outcome: Outcome) -> None:
            super().settle(outcome)
            pool.script[shard.shard.url] = list(almost)

    work = TrippingOnTheUnitToo(0)
    work.todo.extend([shard, shard.model_copy(update={"unit": unit})])

    run_tasks(pool, work)

    assert [outcome.failure for outcome in work.settled] == [None, None]


def test_a_final_failure_is_not_tried_again() -> None:
    pool, work = ScriptedPool({"s3://b/0.tar": [FINAL]}), ListedWork(1)

    run_tasks(pool, work)

    assert work.settled[0].failure == FINAL and pool.dispatched["s3://b/0.tar"] == 1


def test_stopping_finishes_what_runs_and_dispatches_no_more() -> None:
    pool, work = ScriptedPool({}, room=3), ListedWork(10)

    run_tasks(pool, work, stopping=lambda: len(work.settled) >= 1)

    assert (len(work.settled), pool.count_in_flight(), len(work.todo)) == (3, 0, 7)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("RuntimeEnvironmentError", RuntimeEnvironmentError),
        ("sys", GroundswellError),
        ("X", GroundswellError),
    ],
)
def test_an_error_that_ends_the_run_is_raised_by_its_name(name: str, kind: type[Exception]) -> None:
    class Stopping(ScriptedPool):
        def next_outcome(self) -> Outcome:
            return Outcome(task=self.running.popleft(), abort=Abort(error=name, message="no GPU here"))

    with pytest.raises(kind, match="no GPU here"):
        run_tasks(Stopping({}), ListedWork(1))


@given(st.lists(st.integers(), max_size=30), st.integers(1, 5))
def test_working_ahead_gives_the_same_items_in_order(items: list[int], depth: int) -> None:
    assert list(prefetch(iter(items), depth)) == items


def test_working_ahead_passes_the_error_on_after_the_items_before_it() -> None:
    def items():
        yield 1
        raise ValueError("in the thread")

    seen = []
    with pytest.raises(ValueError, match="in the thread"):
        for item in prefetch(items(), 2):
            seen.append(item)

    assert seen == [1]


def test_a_consumer_that_leaves_ends_the_thread() -> None:
    made = []

    def items():
        for number in range(1_000):
            made.append(number)
            yield number

    for _ in prefetch(items(), 2):
        break

    assert len(made) < 10


@given(st.lists(st.integers(), max_size=30), st.integers(1, 5), st.integers(1, 4))
def test_threads_that_work_ahead_keep_the_order(items: list[int], depth: int, threads: int) -> None:
    assert list(prefetch_map(lambda item: item * 2, items, depth, threads)) == [item * 2 for item in items]


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_of_one_thread_comes_in_its_place(threads: int) -> None:
    def work(item: int) -> int:
        if item == 2:
            raise ValueError("of the third")
        return item

    seen = []
    with pytest.raises(ValueError, match="of the third"):
        for item in prefetch_map(work, range(9), 2, threads):
            seen.append(item)

    assert seen == [0, 1]


@pytest.mark.parametrize("threads", [1, 3])
def test_what_nobody_ever_asks_for_ends_its_threads(threads: int) -> None:
    before = threading.active_count()
    working = prefetch_map(str, range(1_000), 2, threads)
    assert threading.active_count() > before

    working.close()

    assert threading.active_count() == before


class TwoPlacesEach:
    """Two workers that take two tasks each, in simulated time: one needs 1 for a task, the other 3."""

    def __init__(self, patient: bool) -> None:
        self.queues: list[deque[Task]] = [deque(), deque()]
        self.free_at, self.needs = [0, 0], [1, 3]
        self.now, self._patient = 0, patient

    def capacity(self, remaining: int | None = None) -> int:
        if self._patient and remaining is not None and remaining <= len(self.queues):
            return sum(not tasks for tasks in self.queues)
        return sum(2 - len(tasks) for tasks in self.queues)

    def wait_for_capacity(self) -> None:
        """Return at once."""

    def submit(self, item: Task) -> None:
        worker = min((0, 1), key=lambda at: len(self.queues[at]))
        if not self.queues[worker]:
            self.free_at[worker] = self.now + self.needs[worker]
        self.queues[worker].append(item)

    def count_in_flight(self) -> int:
        return sum(map(len, self.queues))

    def next_outcome(self) -> Outcome:
        worker = min((at for at in (0, 1) if self.queues[at]), key=lambda at: self.free_at[at])
        self.now = self.free_at[worker]
        self.free_at[worker] += self.needs[worker]
        return Outcome(task=self.queues[worker].popleft())

    def close(self) -> None:
        """Do nothing."""


def test_the_last_tasks_do_not_wait_behind_a_slow_worker_while_another_idles() -> None:
    took = {}
    for patient in (False, True):
        pool, work = TwoPlacesEach(patient), ListedWork(8)

        run_tasks(pool, work)

        assert len(work.settled) == 8
        took[patient] = pool.now

    assert took == {False: 9, True: 6}
