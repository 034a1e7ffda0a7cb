"""The Ray executor: teacher actors that run tasks, replaced when they die, hang, or must leave their node.

An actor's death isolates the task that it ran and costs a task that waited in it one more try. A node that goes costs
nobody a try. An actor never runs code other than the driver's. A pool without a place says so.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, redirect_stdout
from functools import partial
from typing import TypeVar, cast

import ray
from ray import ObjectRef
from ray.exceptions import ActorUnavailableError, RayActorError, RayError

from engine.driver.stragglers import Stragglers
from engine.executors.ray_actor import (
    CONCURRENCY_GROUPS,
    Placement,
    make_actor_class,
)
from engine.executors.ray_actor_handle import (
    ActorState,
    Phase,
    TeacherClass,
    first_line,
    make_death_outcome,
    read_last_answer,
    start_actor,
)
from engine.executors.ray_cluster import (
    cluster,
    draining_nodes,
    explain_placement,
    is_lost_with_node,
)
from engine.settings import RunSettings
from engine.storage.store import open_store
from engine.task import Outcome, PoolState, Retry, Task, Trust, WorkerSpec
from engine.telemetry.worker_output import read_output, save_outputs
from engine.worker.import_check import check_packages, package_root
from schemas.errors import RuntimeEnvironmentError

log = logging.getLogger(__name__)
T = TypeVar("T")
MAX_FAILED_STARTS = 3  # in a row; nodes come and go, a broken installation stays
_POLL_S = 1.0
_CHECK_NODES_EVERY_S = 2.0
_MAX_LINES = 5  # of what a dead worker printed


class RayPool:
    """A Pool of teacher actors. Work begins when `min` are placed; up to `max` join when the cluster has room."""

    def __init__(
        self,
        spec: WorkerSpec,
        run: RunSettings,
        address: str | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """Start the actors and wait for `run.actors.min` of them.

        stopping: once true, nothing waits for capacity, and tasks that are not with a teacher are handed back
        """
        self._spec, self._run, self._stopping = spec.model_copy(update={"run": run}), run, stopping
        self._resources = ExitStack()
        self._outcomes: list[Outcome] = []
        self._actors: list[ActorState] = []
        self._outputs: list[str] = []
        self._failed_starts = 0
        self._stragglers = Stragglers()
        self._is_recalled = False
        self._checked_at = self._checked_nodes_at = time.monotonic()
        self._state = PoolState(wanted=run.actors.max)
        try:
            # Ray reports dead workers on stdout, which belongs to our data
            self._resources.enter_context(redirect_stdout(sys.stderr))
            self._resources.enter_context(cluster(address, run.allow_unauthenticated))
            self._actor_class = _make_remote_class()
            self._actors = [self._start() for _ in range(run.actors.max)]
            self._step_until(
                lambda: stopping() or self._count_placed() >= run.actors.min, actors=run.actors.min
            )
        except BaseException:
            self.close()
            raise

    def capacity(self, remaining: int | None = None) -> int:
        """Return how many tasks fit. The last tasks wait for whoever is free first, not behind a task just begun."""
        if remaining is not None and remaining <= self._count_placed():
            return sum(actor.capacity > 0 and not actor.tasks for actor in self._actors)
        return sum(actor.capacity for actor in self._actors)

    def submit(self, task: Task) -> None:
        """Dispatch the task to the actor with the fewest tasks."""
        max(self._actors, key=lambda actor: actor.capacity).dispatch(task)
        self._stragglers.add(task)

    def count_in_flight(self) -> int:
        """Return the number of tasks whose outcome `next_outcome` has not returned."""
        return self._stragglers.count_open() + len(self._outcomes)

    def wait_for_capacity(self) -> None:
        """Return when an actor takes a task, or the run is to stop."""
        self._step_until(lambda: self._stopping() or self.capacity() > 0, actors=1)

    def next_outcome(self) -> Outcome:
        """Wait for an outcome. Actors that idle meanwhile run the longest-running unit a second time."""
        self._step_until(lambda: bool(self._outcomes), actors=1, copy_stragglers=True)
        return self._outcomes.pop(0)

    def state(self) -> PoolState:
        """Return numbers on the actors."""
        self._state.placed = self._count_placed()
        return self._state

    def close(self) -> None:
        """End the actors. What the workers of this machine printed goes to `logs/` of the output."""
        with self._resources:
            for actor in self._actors:
                actor.kill()
            self._actors = []
            if self._outputs:
                save_outputs(open_store(self._spec.output_url, self._spec.output_storage), self._outputs)
                self._outputs = []

    def _start(self) -> ActorState:
        return start_actor(self._actor_class, self._spec, self._run)

    def _count_placed(self) -> int:
        return sum(actor.phase is Phase.PLACED for actor in self._actors)

    def _step_until(self, reached: Callable[[], bool], actors: int, copy_stragglers: bool = False) -> None:
        """Process what happens until `reached`.

        raises: RuntimeEnvironmentError after too long with fewer placed actors than `actors`
        """
        deadline = time.monotonic() + self._run.placement_timeout_s
        while not reached():
            if self._count_placed() >= actors or any(actor.tasks for actor in self._actors):
                deadline = time.monotonic() + self._run.placement_timeout_s
            elif time.monotonic() > deadline:
                raise RuntimeEnvironmentError(explain_placement(self._run, self._count_placed()))
            self._step(self._poll_s())
            self._check_actors()
            if copy_stragglers:
                self._copy_straggler()

    def _poll_s(self) -> float:
        return min(_POLL_S, self._run.stuck_after_s / 4, self._run.load_timeout_s / 4)

    def _step(self, timeout_s: float) -> None:
        """Wait for an answer of any actor, and process it."""
        reachable = [actor for actor in self._actors if not actor.is_unreachable]
        placements = {actor.placement: actor for actor in reachable if actor.phase is Phase.STARTING}
        runs = {ref: actor for actor in reachable for ref in actor.tasks}
        heartbeats = {actor.heartbeat: actor for actor in self._actors if actor.heartbeat is not None}
        ready, _ = ray.wait([*placements, *runs, *heartbeats], num_returns=1, timeout=timeout_s)
        for look, actor in placements.items():
            if look in ready:
                self._receive(actor, look, partial(self._place, actor))
        for run, actor in runs.items():
            if run in ready:
                self._receive(actor, run, partial(self._take_outcome, actor, run))
        for heartbeat, actor in heartbeats.items():
            if heartbeat in ready:
                self._receive(actor, heartbeat, partial(self._take_heartbeat, actor))

    def _receive(self, actor: ActorState, ref: ObjectRef[T], accept: Callable[[T], None]) -> None:
        """Pass an answer on, or find out what happened to the actor."""
        if actor not in self._actors:  # replaced in this step, which settled its tasks
            return
        try:
            accept(ray.get(ref))
        except ActorUnavailableError:  # it may live, or its node is gone and Ray does not know yet
            actor.is_unreachable, actor.heartbeat = True, None
            actor.liveness.start(time.monotonic())
        except RayActorError as error:
            self._replace(actor, first_line(error), is_lost_with_node(error, actor.node), error)
        except RayError as error:
            self._take_error(actor, ref, f"{type(error).__name__}: {first_line(error)}")

    def _place(self, actor: ActorState, placement: Placement) -> None:
        origins, actor.outputs, actor.node = placement
        check_packages(origins, package_root(), "a Ray worker")
        self._outputs += actor.outputs
        actor.phase = Phase.PLACED
        self._failed_starts = 0

    def _take_heartbeat(self, actor: ActorState, heartbeat: tuple[int, int]) -> None:
        if actor.is_unreachable:
            self._replace(actor, "it was out of reach for a while", is_blameless=True)
            return
        actor.heartbeat = None
        actor.liveness.record_heartbeat(heartbeat, time.monotonic())

    def _take_outcome(self, actor: ActorState, ref: ObjectRef[str], outcome_json: str) -> None:
        del actor.tasks[ref]
        self._settle(Outcome.model_validate_json(outcome_json))

    def _take_error(self, actor: ActorState, ref: ObjectRef[T], reason: str) -> None:
        """Process a call that failed in an actor that lives on."""
        if (task := actor.tasks.pop(cast(ObjectRef[str], ref), None)) is not None:
            self._settle(make_death_outcome(task, reason, Retry.CHARGED))
        elif ref is actor.heartbeat:
            actor.heartbeat = None
        else:
            self._replace(actor, reason, is_blameless=False)

    def _settle(self, outcome: Outcome) -> None:
        lowered = outcome.batch_size
        if lowered is not None and lowered < (self._spec.batch_size or lowered + 1):
            self._spec = self._spec.model_copy(update={"batch_size": lowered})  # replacements start with it
        running = {task.identity for actor in self._actors for task in actor.tasks.values()}
        if self._stragglers.settle(outcome, others=outcome.task.identity in running):
            self._outcomes.append(outcome)

    def _check_actors(self) -> None:
        """Ask for heartbeats, end actors that are stuck, and leave nodes that go."""
        now = time.monotonic()
        absent_s, self._checked_at = now - self._checked_at, now
        for actor in [actor for actor in self._actors if actor.tasks or actor.is_unreachable]:
            actor.liveness.forgive_absence(absent_s)
            if actor.heartbeat is None and actor.liveness.is_heartbeat_due(now, soon=actor.is_unreachable):
                actor.ask_for_heartbeat()
            if reason := actor.liveness.explain_stuck(now):
                self._replace(actor, reason, is_blameless=False)
        if self._stopping() and not self._is_recalled:
            self._is_recalled = True
            for actor in self._actors:
                actor.recall()
        if now - self._checked_nodes_at > _CHECK_NODES_EVERY_S:
            self._checked_nodes_at = now
            self._leave_draining_nodes()

    def _leave_draining_nodes(self) -> None:
        draining = draining_nodes()
        for actor in [actor for actor in self._actors if actor.phase is not Phase.STARTING]:
            if actor.node in draining and actor.phase is Phase.PLACED:
                log.warning("node %s is going; its actor gets no more work", actor.node[:12])
                actor.phase = Phase.LEAVING
                actor.recall()
                self._actors.append(self._start())
            if actor.phase is Phase.LEAVING and not actor.tasks:
                self._actors.remove(actor)
                actor.kill()

    def _copy_straggler(self) -> None:
        idle = [actor for actor in self._actors if actor.capacity and not actor.tasks]
        if idle and not self._stopping() and (task := self._stragglers.next_copy()) is not None:
            log.warning("%s takes long; an idle worker tries it too", task.name)
            idle[0].dispatch(task)

    def _replace(
        self, actor: ActorState, reason: str, is_blameless: bool, error: RayActorError | None = None
    ) -> None:
        """Replace an actor that is dead or counts as dead. Answers that it gave before count."""
        printed_lines = [
            line for path in actor.outputs for line in read_output(path).splitlines()[-_MAX_LINES:]
        ]
        log.warning("a teacher actor died: %s", "\n  ".join([reason, *printed_lines]))
        actor.kill()  # one that is only unreachable must not work on next to its replacement
        self._failed_starts += actor.phase is Phase.STARTING and not is_blameless
        if self._failed_starts > MAX_FAILED_STARTS:
            raise RuntimeEnvironmentError(
                f"{self._failed_starts} teacher actors in a row failed to start: {error or reason}; run `groundswell "
                "doctor` on the nodes and see logs/ of the output"
            )
        self._actors.remove(actor)
        if actor.phase is not Phase.LEAVING:
            self._actors.append(self._start())
        self._state.deaths += not is_blameless
        self._state.preempted += is_blameless
        is_first = True
        for ref, task in list(actor.tasks.items()):
            del actor.tasks[ref]
            answer = read_last_answer(ref)
            if answer is not None:
                self._settle(Outcome.model_validate_json(answer))
                continue
            retry = Retry.FREE if is_blameless else retry_after_death(task, is_first)
            self._settle(make_death_outcome(task, reason, retry))
            is_first = False


def retry_after_death(task: Task, is_first: bool) -> Retry:
    """Charge the task that ran. One that waited is suspect, and charged if it was suspect before.

    Free retries of isolated tasks are bounded: one waits only behind a trusted task, which the death isolates for good.
    """
    return Retry.CHARGED if is_first or task.trust is Trust.SUSPECT else Retry.SUSPECT


def _make_remote_class() -> TeacherClass:
    # its stubs omit concurrency groups
    remote = cast(Callable[..., Callable[[type], TeacherClass]], ray.remote)
    return remote(concurrency_groups=CONCURRENCY_GROUPS)(make_actor_class())
