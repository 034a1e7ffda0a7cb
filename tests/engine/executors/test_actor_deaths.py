"""Retries after the deaths of actors are bounded, whichever tasks share an actor."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from engine.driver.dispatch import MAX_DEATHS, run_tasks
from engine.driver.liveness import Liveness
from engine.executors.ray_actor_handle import ActorState, Phase, make_death_outcome
from engine.executors.ray_pool import retry_after_death
from engine.settings import RunSettings
from engine.task import Outcome, Retry, Task, Trust
from tests.engine.driver.test_dispatch import ListedWork


class DyingPool:
    """A pool of actors that die with every task, with the capacity and the retries of the Ray pool."""

    def __init__(self, deaths: list[int], actors: int) -> None:
        """Keep the order of deaths. deaths: index of the actor that dies next; later, the first with a task."""
        self._deaths = deaths
        self._actors = [self._start() for _ in range(actors)]
        self._outcomes: list[Outcome] = []
        self.free = Counter[Trust]()

    def capacity(self, remaining: int | None = None) -> int:
        return sum(actor.capacity for actor in self._actors)

    def wait_for_capacity(self) -> None:
        """Do nothing: a dead actor is replaced at once."""

    def submit(self, task: Task) -> None:
        actor = max(self._actors, key=lambda actor: actor.capacity)
        actor.tasks[object()] = task

    def count_in_flight(self) -> int:
        return len(self._outcomes) + sum(len(actor.tasks) for actor in self._actors)

    def next_outcome(self) -> Outcome:
        if not self._outcomes:
            busy = [actor for actor in self._actors if actor.tasks]
            self._kill(busy[self._deaths.pop() % len(busy) if self._deaths else 0])
        return self._outcomes.pop(0)

    def close(self) -> None:
        """Do nothing."""

    def _start(self) -> ActorState:
        return ActorState(object(), object(), Liveness(RunSettings()), Phase.PLACED)

    def _kill(self, actor: ActorState) -> None:
        for place, task in enumerate(actor.tasks.values()):
            retry = retry_after_death(task, is_first=place == 0)
            self.free[task.trust] += retry is not Retry.CHARGED
            self._outcomes.append(make_death_outcome(task, "SIGKILL", retry))
        actor.tasks.clear()


@given(st.lists(st.integers(0, 5), max_size=60), st.integers(1, 3), st.integers(1, 7))
def test_tasks_that_always_kill_their_actor_end_after_a_bounded_number_of_deaths(
    deaths: list[int], actors: int, count: int
) -> None:
    pool, work = DyingPool(deaths, actors), ListedWork(count)

    run_tasks(pool, work)

    assert len(work.settled) == count
    assert pool.free[Trust.ISOLATED] <= count  # a trusted task in front is isolated by the death
    assert all(outcome.task.attempt <= MAX_DEATHS + 1 + count for outcome in work.settled)


def test_an_isolated_task_that_waited_in_a_dead_actor_is_not_charged() -> None:
    isolated = ListedWork(1).todo[0].model_copy(update={"trust": Trust.ISOLATED})

    assert retry_after_death(isolated, is_first=False) is Retry.SUSPECT
    assert retry_after_death(isolated, is_first=True) is Retry.CHARGED
