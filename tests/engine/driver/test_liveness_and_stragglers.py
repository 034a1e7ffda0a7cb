"""When a worker counts as stuck, when a unit runs a second time, and which task a death is charged to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.driver.dispatch import MAX_DEATHS, run_tasks
from engine.driver.liveness import Liveness
from engine.driver.stragglers import Stragglers
from engine.executors.ray_cluster import draining_nodes
from engine.settings import RunSettings
from engine.task import WORKER_DIED, Failure, Outcome, Retry, Task, Trust
from schemas.ledger import Unit
from tests.engine.driver.test_dispatch import ListedWork, ScriptedPool, task

RUN = RunSettings(stuck_after_s=10, load_timeout_s=100)


def test_a_worker_is_stuck_when_neither_samples_nor_bytes_move_and_not_when_a_unit_takes_long() -> None:
    liveness = Liveness(RUN)
    liveness.start(0)
    liveness.record_heartbeat((1, 0), 5)

    for now in range(6, 300, 9):
        liveness.record_heartbeat((1, now), now)  # a large shard is fetched
        assert liveness.explain_stuck(now) is None
    liveness.record_heartbeat((1, now), now + 9)

    assert liveness.explain_stuck(now + 9) is None
    assert liveness.explain_stuck(now + 11) == "no progress for 11 s"


def test_loading_the_teacher_has_a_timeout_of_its_own() -> None:
    liveness = Liveness(RUN)
    liveness.start(0)

    assert liveness.explain_stuck(99) is None
    assert liveness.explain_stuck(101) == "no progress for 101 s, the teacher was never ready"


def test_a_worker_that_does_not_even_answer_is_stuck_too() -> None:
    liveness = Liveness(RUN)
    liveness.record_heartbeat((1, 0), 0)
    liveness.start(20)

    assert liveness.is_heartbeat_due(21) and not liveness.is_heartbeat_due(21.5)
    assert liveness.explain_stuck(31) is not None


def test_a_worker_is_not_blamed_for_the_drivers_absence() -> None:
    """For example, it published to a slow store, and answers wait to be read."""
    liveness, blind = Liveness(RUN), Liveness(RUN)
    for one in (liveness, blind):
        one.start(0)
        one.record_heartbeat((1, 0), 1)

    liveness.forgive_absence(60)

    assert blind.explain_stuck(61) is not None
    assert liveness.explain_stuck(61) is None and liveness.explain_stuck(72) is not None


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def unit_task(number: int, trust: Trust = Trust.TRUSTED) -> Task:
    plain = task(number)
    unit = Unit(name=plain.name, shard=plain.shard.url, input_digest="sha256:x", first=0, count=1)
    return plain.model_copy(update={"unit": unit, "trust": trust})


LOST = Failure(code=WORKER_DIED, detail="SIGKILL", retry=Retry.CHARGED)


def late_pool() -> tuple[Stragglers, Clock]:
    """Return the state in which a unit took 10 s, and unit 1 runs since 0 and unit 2 since 5."""
    clock = Clock()
    stragglers = Stragglers(clock)
    stragglers.add(unit_task(0))
    stragglers.add(unit_task(1))
    clock.now = 5
    stragglers.add(unit_task(2))
    clock.now = 10
    assert stragglers.settle(Outcome(task=unit_task(0)), others=False)
    return stragglers, clock


def test_the_unit_that_runs_longest_is_copied_once_when_it_is_late() -> None:
    stragglers, clock = late_pool()

    clock.now = 20
    assert stragglers.next_copy() is None
    clock.now = 21
    assert stragglers.next_copy() == unit_task(1)
    assert stragglers.next_copy() is None
    clock.now = 26
    assert stragglers.next_copy() == unit_task(2)


def test_the_first_outcome_settles_and_the_second_is_ignored() -> None:
    stragglers, clock = late_pool()
    clock.now = 21
    stragglers.next_copy()

    assert stragglers.settle(Outcome(task=unit_task(1)), others=True)
    assert not stragglers.settle(Outcome(task=unit_task(1)), others=False)
    assert stragglers.count_open() == 1


def test_a_death_of_one_of_two_is_no_outcome_and_the_death_of_both_is() -> None:
    stragglers, clock = late_pool()
    clock.now = 21
    stragglers.next_copy()

    assert not stragglers.settle(Outcome(task=unit_task(1), failure=LOST), others=True)
    assert stragglers.settle(Outcome(task=unit_task(1), failure=LOST), others=False)


def test_a_copy_that_is_deferred_leaves_the_unit_to_the_worker_that_has_begun_it() -> None:
    """For example, earlier runs began the unit often, and the copy was one attempt too many."""
    stragglers, clock = late_pool()
    clock.now = 21
    stragglers.next_copy()

    assert not stragglers.settle(Outcome(task=unit_task(1), is_deferred=True), others=True)
    assert stragglers.count_open() == 2
    assert stragglers.settle(Outcome(task=unit_task(1)), others=False)


def test_a_unit_that_its_only_worker_defers_is_settled_so() -> None:
    stragglers, _ = late_pool()

    assert stragglers.settle(Outcome(task=unit_task(1), is_deferred=True), others=False)


@pytest.mark.parametrize("trust", [Trust.ISOLATED, Trust.SUSPECT])
def test_a_unit_that_may_kill_its_worker_is_never_copied(trust: Trust) -> None:
    stragglers, clock = late_pool()
    stragglers.add(unit_task(1, trust))
    clock.now = 1_000

    assert stragglers.next_copy() == unit_task(2)
    assert stragglers.next_copy() is None


class RecordingTrust(ScriptedPool):
    """A pool that records with which trust each task was dispatched."""

    def __init__(self, fates: list[Failure]) -> None:
        super().__init__({task(0).shard.url: fates}, room=1)
        self.taken: list[Trust] = []

    def submit(self, item: Task) -> None:
        self.taken.append(item.trust)
        super().submit(item)


WAITED = LOST.model_copy(update={"retry": Retry.SUSPECT})
WENT = LOST.model_copy(update={"retry": Retry.FREE})


def test_a_unit_whose_worker_died_is_isolated_and_one_that_waited_there_is_only_suspect() -> None:
    pool = RecordingTrust([WENT, WAITED, LOST])

    run_tasks(pool, ListedWork(1))

    assert pool.taken == [Trust.TRUSTED, Trust.TRUSTED, Trust.SUSPECT, Trust.ISOLATED]


def test_isolated_units_survive_the_accidents_of_their_workers_a_bounded_number_of_times() -> None:
    for deaths, failed in ((MAX_DEATHS - 1, False), (MAX_DEATHS, True)):
        pool, work = RecordingTrust([LOST] * deaths), ListedWork(1)

        run_tasks(pool, work)

        assert (work.settled[0].failure is not None) == failed


@given(st.lists(st.sampled_from([LOST, WAITED, WENT]), max_size=12))
def test_a_death_that_was_blamed_once_stays_isolated(fates: list[Failure]) -> None:
    pool = RecordingTrust(list(fates))

    run_tasks(pool, ListedWork(1))

    isolated = [trust is Trust.ISOLATED for trust in pool.taken]
    assert isolated == sorted(isolated)


def test_a_ray_without_a_list_of_draining_nodes_is_reported_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr("ray._private.state.GlobalState.get_draining_nodes")

    assert draining_nodes() == draining_nodes() == set()

    assert caplog.text.count("does not report draining nodes") == 1
