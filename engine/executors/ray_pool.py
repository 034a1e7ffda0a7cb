"""The executor on Ray: teacher actors that pull tasks, replaced when they die, hang, or have to leave their node.

Promise: an actor's death sends the task it ran into isolation and costs the task that waited in it one more try; a node
that goes charges no one. An actor never works with code other than the driver's; a pool that finds no place says so.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, redirect_stdout
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayActorError, RayError

from engine.driver.stragglers import Stragglers
from engine.executors.ray_actor import GROUPS, TASKS_PER_ACTOR, actor_class
from engine.executors.ray_actor_handle import HeldActor, answer_before_death, first_line, lost, started
from engine.executors.ray_cluster import arithmetic, cluster, draining_nodes, lost_with_its_node
from engine.settings import RunSettings
from engine.storage.store import open_store
from engine.task import Outcome, PoolState, Task, WorkerSpec
from engine.telemetry.worker_output import read_output, save_outputs
from engine.worker.import_check import check_rooms, package_root
from schemas.errors import RuntimeEnvironmentError

__all__ = ["TASKS_PER_ACTOR", "RayPool", "cluster"]
log = logging.getLogger(__name__)
MAX_FAILED_STARTS = 3  # in a row; nodes come and go, a broken installation stays
_POLL_S = 1.0
_LOOK_AT_NODES_EVERY_S = 2.0
_SHOWN_LINES = 5  # of what a dead worker printed


class RayPool:
    """A Pool of teacher actors: work begins when `min` are placed, up to `max` join when they find room."""

    def __init__(
        self,
        spec: WorkerSpec,
        run: RunSettings,
        address: str | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """stopping: once true, nobody waits for room any more, and tasks not with a teacher yet are handed back"""
        self._spec, self._run, self._stopping = spec.model_copy(update={"run": run}), run, stopping
        self._open = ExitStack()
        self._ended: list[Outcome] = []
        self._actors: list[HeldActor] = []
        self._printing: list[str] = []
        self._failed_starts = 0
        self._stragglers = Stragglers()
        self._recalled = False
        self._looked = self._looked_at_nodes = time.monotonic()
        self._state = PoolState(wanted=run.actors.max)
        try:
            # Ray prints what it has to say of dead workers on stdout, which belongs to our data
            self._open.enter_context(redirect_stdout(sys.stderr))
            self._open.enter_context(cluster(address, run.allow_unauthenticated))
            remote: Any = ray.remote  # its stubs do not know concurrency groups
            self._remote: Any = remote(concurrency_groups=GROUPS)(actor_class())
            self._actors = [self._start() for _ in range(run.actors.max)]
            self._step_until(lambda: stopping() or self._placed() >= run.actors.min, actors=run.actors.min)
        except BaseException:
            self.close()
            raise

    def capacity(self, left: int | None = None) -> int:
        """See Pool: the last tasks wait for whoever is free first, not behind a task that has just begun."""
        if left is not None and left <= self._placed():
            return sum(actor.room > 0 and not actor.tasks for actor in self._actors)
        return sum(actor.room for actor in self._actors)

    def submit(self, task: Task) -> None:
        """Give the task to the actor with the least to do."""
        max(self._actors, key=lambda actor: actor.room).hand_over(task)
        self._stragglers.handed_out(task)

    def busy(self) -> int:
        """See Pool."""
        return self._stragglers.unanswered() + len(self._ended)

    def wait_for_room(self) -> None:
        """See Pool."""
        self._step_until(lambda: self._stopping() or self.capacity() > 0, actors=1)

    def next_outcome(self) -> Outcome:
        """See Pool. Workers that idle meanwhile try the longest-running unit a second time."""
        self._step_until(lambda: bool(self._ended), actors=1, spare=True)
        return self._ended.pop(0)

    def state(self) -> PoolState:
        """See Pool."""
        self._state.placed = self._placed()
        return self._state

    def close(self) -> None:
        """See Pool. What the workers of this machine printed goes to `logs/` of the output."""
        with self._open:
            for actor in self._actors:
                ray.kill(actor.handle)
            self._actors = []
            if self._printing:
                save_outputs(open_store(self._spec.output_url, self._spec.output_storage), self._printing)
                self._printing = []

    def _start(self) -> HeldActor:
        return started(self._remote, self._spec, self._run)

    def _placed(self) -> int:
        return sum(actor.placed and not actor.leaving for actor in self._actors)

    def _step_until(self, reached: Callable[[], bool], actors: int, spare: bool = False) -> None:
        """Take note of what ends until `reached`.

        Raises RuntimeEnvironmentError after too long with fewer placed actors.
        """
        deadline = time.monotonic() + self._run.placement_timeout_s
        while not reached():
            if self._placed() >= actors or any(actor.tasks for actor in self._actors):
                deadline = time.monotonic() + self._run.placement_timeout_s
            elif time.monotonic() > deadline:
                raise RuntimeEnvironmentError(arithmetic(self._run, self._placed()))
            self._step(self._poll_s())
            self._look_after_actors()
            if spare:
                self._try_again_what_is_late()

    def _poll_s(self) -> float:
        return min(_POLL_S, self._run.stuck_after_s / 4, self._run.load_timeout_s / 4)

    def _step(self, timeout_s: float) -> None:
        """Wait until something ends, and take note of it."""
        looks = {actor.looked: actor for actor in self._actors if not actor.placed and not actor.doubted}
        runs = {ref: actor for actor in self._actors for ref in actor.tasks if not actor.doubted}
        pulses = {actor.pulse: actor for actor in self._actors if actor.pulse is not None}
        ended, _ = ray.wait([*looks, *runs, *pulses], num_returns=1, timeout=timeout_s)
        for ref in ended:
            actor = looks.get(ref) or runs.get(ref) or pulses[ref]
            if actor not in self._actors:
                continue
            try:
                self._take(actor, ref, ray.get(ref))
            except ActorUnavailableError:  # it may live, or its node is gone and Ray does not know yet
                actor.doubted, actor.pulse = True, None
                actor.attention.begin(time.monotonic())
            except RayActorError as error:
                self._bury(actor, first_line(error), lost_with_its_node(error, actor.node), error)
            except RayError as error:
                self._take_error(actor, ref, f"{type(error).__name__}: {first_line(error)}")

    def _take(self, actor: HeldActor, ref: Any, answer: Any) -> None:
        if ref is actor.looked:
            origins, actor.printing, actor.node = answer
            check_rooms(origins, package_root(), "a Ray worker")
            self._printing += actor.printing
            actor.placed = True
            self._failed_starts = 0
        elif ref is actor.pulse and actor.doubted:
            self._bury(actor, "it was out of reach for a while", blameless=True)
        elif ref is actor.pulse:
            actor.pulse = None
            actor.attention.noted(answer, time.monotonic())
        else:
            del actor.tasks[ref]
            self._end(Outcome.model_validate_json(answer))

    def _take_error(self, actor: HeldActor, ref: Any, reason: str) -> None:
        """A call failed in an actor that lives on."""
        if ref in actor.tasks:
            self._end(lost(actor.tasks.pop(ref), reason, charged=True, suspect=False))
        elif ref is actor.pulse:
            actor.pulse = None
        else:
            self._bury(actor, reason, blameless=False)

    def _end(self, outcome: Outcome) -> None:
        lowered = outcome.batch_size
        if lowered is not None and lowered < (self._spec.batch_size or lowered + 1):
            self._spec = self._spec.model_copy(update={"batch_size": lowered})  # replacements begin with it
        held = {task.identity for actor in self._actors for task in actor.tasks.values()}
        if self._stragglers.settles(outcome, others=outcome.task.identity in held):
            self._ended.append(outcome)

    def _look_after_actors(self) -> None:
        """Ask for pulses, end what is stuck, and let go of actors whose node goes."""
        now = time.monotonic()
        away_s, self._looked = now - self._looked, now
        for actor in [actor for actor in self._actors if actor.tasks or actor.doubted]:
            actor.attention.away(away_s)
            if actor.pulse is None and actor.attention.is_due(now, soon=actor.doubted):
                actor.pulse = actor.handle.pulse.options(concurrency_group="ask").remote()
            if reason := actor.attention.stuck(now):
                self._bury(actor, reason, blameless=False)
        if self._stopping() and not self._recalled:
            self._recalled = True
            for actor in self._actors:
                actor.recall()
        if now - self._looked_at_nodes > _LOOK_AT_NODES_EVERY_S:
            self._looked_at_nodes = now
            self._leave_draining_nodes()

    def _leave_draining_nodes(self) -> None:
        going = draining_nodes()
        for actor in [actor for actor in self._actors if actor.placed]:
            if actor.node in going and not actor.leaving:
                log.warning("node %s is going; its actor gets no more work", actor.node[:12])
                actor.leaving = True
                actor.recall()
                self._actors.append(self._start())
            if actor.leaving and not actor.tasks:
                self._actors.remove(actor)
                ray.kill(actor.handle)

    def _try_again_what_is_late(self) -> None:
        idle = [actor for actor in self._actors if actor.room and not actor.tasks]
        if idle and not self._stopping() and (task := self._stragglers.next_copy()) is not None:
            log.warning("%s takes long; an idle worker tries it too", task.name)
            idle[0].hand_over(task)

    def _bury(
        self, actor: HeldActor, reason: str, blameless: bool, error: RayActorError | None = None
    ) -> None:
        """Replace an actor that is dead or as good as dead. What it answered before counts."""
        last = [line for path in actor.printing for line in read_output(path).splitlines()[-_SHOWN_LINES:]]
        log.warning("a teacher actor died: %s", "\n  ".join([reason, *last]))
        ray.kill(actor.handle)  # one that only cannot be reached must not go on beside its replacement
        self._failed_starts += not actor.placed and not blameless
        if self._failed_starts > MAX_FAILED_STARTS:
            raise RuntimeEnvironmentError(f"teacher actors cannot start: {error or reason}")
        self._actors.remove(actor)
        if not actor.leaving:
            self._actors.append(self._start())
        self._state.deaths += not blameless
        self._state.preempted += blameless
        blamed = False
        for ref, task in list(actor.tasks.items()):
            del actor.tasks[ref]
            answer = answer_before_death(ref)
            if answer is not None:
                self._end(Outcome.model_validate_json(answer))
                continue
            charged = not blameless and (not blamed or task.suspect)
            self._end(lost(task, reason, charged, suspect=not blameless))
            blamed = True
