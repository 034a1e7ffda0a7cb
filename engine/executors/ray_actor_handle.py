"""An actor as the driver sees it: its place, its tasks, and what remains of them when it dies.

An answer that an actor gave before its death counts.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, TypeVar, cast

import ray
from ray import ObjectRef
from ray.exceptions import RayError

from engine.driver.liveness import Liveness
from engine.executors.ray_actor import QUERY_GROUP, TASKS_PER_ACTOR, WORK_GROUP, Placement
from engine.settings import RunSettings
from engine.task import WORKER_DIED, Failure, Outcome, Retry, Task, Trust, WorkerSpec
from engine.worker.import_check import WORKER_PACKAGES

T = TypeVar("T")


class RemoteMethod(Protocol[T]):
    """A method of an actor as Ray offers it to the driver."""

    def options(self, *, concurrency_group: str) -> RemoteMethod[T]:
        """Return the method for calls in a concurrency group."""
        ...

    def remote(self, *arguments: str | tuple[str, ...]) -> ObjectRef[T]:
        """Call the method and return a reference to its answer."""
        ...


class TeacherHandle(Protocol):
    """Ray's handle of a teacher actor, with the methods of the class that `make_actor_class` returns."""

    describe_placement: RemoteMethod[Placement]
    run: RemoteMethod[str]
    heartbeat: RemoteMethod[tuple[int, int]]
    recall: RemoteMethod[None]


class TeacherClass(Protocol):
    """The remote class of teacher actors."""

    def options(
        self, *, num_cpus: float, num_gpus: float, max_restarts: int, max_task_retries: int
    ) -> TeacherClass:
        """Return the class with the resources of an actor."""
        ...

    def remote(self, spec_json: str) -> TeacherHandle:
        """Ask for a new actor."""
        ...


class Phase(Enum):
    """Where an actor is in its life."""

    STARTING = "starting"
    PLACED = "placed"
    LEAVING = "leaving"
    """Its node goes. It was replaced and gets no more tasks."""


@dataclass(eq=False)
class ActorState:
    """The driver's state of an actor.

    tasks:          in the order of dispatch, so the first is the one that runs
    outputs:        files that the actor prints to
    is_unreachable: a call failed; only an answer to a heartbeat can decide whether the actor lives
    """

    handle: TeacherHandle
    placement: ObjectRef[Placement]
    liveness: Liveness
    phase: Phase = Phase.STARTING
    is_unreachable: bool = False
    node: str = ""
    outputs: list[str] = field(default_factory=list)
    tasks: dict[ObjectRef[str], Task] = field(default_factory=dict)
    heartbeat: ObjectRef[tuple[int, int]] | None = None

    @property
    def capacity(self) -> int:
        """Number of further tasks that it takes: none next to one that may kill it, so no bystander is blamed."""
        has_risk = any(task.trust is not Trust.TRUSTED for task in self.tasks.values())
        is_usable = self.phase is Phase.PLACED and not self.is_unreachable and not has_risk
        return TASKS_PER_ACTOR - len(self.tasks) if is_usable else 0

    def dispatch(self, task: Task) -> None:
        """Send it a task, to run after those that it has."""
        if not self.tasks:
            self.liveness.start(time.monotonic())
        run = self.handle.run.options(concurrency_group=WORK_GROUP)
        self.tasks[run.remote(task.model_dump_json())] = task

    def recall(self) -> None:
        """Ask it to hand back the tasks that are not with the teacher yet."""
        if self.tasks:
            self.handle.recall.options(concurrency_group=QUERY_GROUP).remote()

    def ask_for_heartbeat(self) -> None:
        """Ask for its progress."""
        self.heartbeat = self.handle.heartbeat.options(concurrency_group=QUERY_GROUP).remote()

    def kill(self) -> None:
        """End its process."""
        ray.kill(cast("ray.actor.ActorHandle[TeacherHandle]", self.handle))


def start_actor(actor_class: TeacherClass, spec: WorkerSpec, run: RunSettings) -> ActorState:
    """Ask for a new actor. It is placed when the cluster has room."""
    handle = actor_class.options(
        num_cpus=run.cpus_per_actor,
        num_gpus=run.gpus_per_actor,
        max_restarts=0,
        max_task_retries=0,
    ).remote(spec.model_dump_json())
    placement = handle.describe_placement.options(concurrency_group=QUERY_GROUP).remote(WORKER_PACKAGES)
    return ActorState(handle, placement, Liveness(run))


def make_death_outcome(task: Task, reason: str, retry: Retry) -> Outcome:
    """Return the outcome of a task whose actor died."""
    failure = Failure(code=WORKER_DIED, detail=f"the worker died: {reason}", retry=retry)
    return Outcome(task=task, failure=failure)


def read_last_answer(ref: ObjectRef[T]) -> T | None:
    """Return the answer that a dead actor gave before its death, or None."""
    ready, _ = ray.wait([ref], timeout=0)
    try:
        return ray.get(ref) if ready else None
    except RayError:
        return None


def first_line(error: Exception) -> str:
    """Return the first line of an error's text."""
    return str(error).strip().split("\n", 1)[0]
