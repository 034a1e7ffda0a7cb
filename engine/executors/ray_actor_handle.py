"""An actor as the driver holds it: where it is, what it has to do, and what is left of that when it dies.

Promise: what an actor answered before its death counts.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError

from engine.driver.liveness import Attention
from engine.executors.ray_actor import TASKS_PER_ACTOR
from engine.settings import RunSettings
from engine.task import WORKER_DIED, Failure, Outcome, Task, WorkerSpec
from engine.worker.import_check import PACKAGES


@dataclass(eq=False)
class HeldActor:
    """An actor as the driver sees it; `tasks` in the order handed over, so the first is the one that runs."""

    handle: Any
    looked: Any
    attention: Attention
    placed: bool = False
    leaving: bool = False
    node: str = ""
    printing: list[str] = field(default_factory=list)
    tasks: dict[Any, Task] = field(default_factory=dict)
    pulse: Any = None
    doubted: bool = False

    @property
    def room(self) -> int:
        """How many more tasks it takes: none beside one that may kill it, so that no bystander is blamed."""
        alone = any(task.isolate or task.suspect for task in self.tasks.values())
        usable = self.placed and not (self.leaving or self.doubted or alone)
        return TASKS_PER_ACTOR - len(self.tasks) if usable else 0

    def hand_over(self, task: Task) -> None:
        """Give it a task, to be done after those that it has."""
        if not self.tasks:
            self.attention.begin(time.monotonic())
        run = self.handle.run.options(concurrency_group="work")
        self.tasks[run.remote(task.model_dump_json())] = task

    def recall(self) -> None:
        """Ask it to give back what is not with the teacher yet."""
        if self.tasks:
            self.handle.recall.options(concurrency_group="ask").remote()


def started(remote: Any, spec: WorkerSpec, run: RunSettings) -> HeldActor:
    """A new actor of a remote class, which finds its place when there is one."""
    handle = remote.options(
        num_cpus=run.cpus_per_actor,
        num_gpus=run.gpus_per_actor,
        max_restarts=0,
        max_task_retries=0,
    ).remote(spec.model_dump_json())
    looked = handle.look.options(concurrency_group="ask").remote(PACKAGES)
    return HeldActor(handle, looked, Attention(run))


def lost(task: Task, reason: str, charged: bool, suspect: bool) -> Outcome:
    """The outcome of a task whose actor died."""
    failure = Failure(
        code=WORKER_DIED,
        detail=f"the worker died: {reason}",
        retryable=True,
        charged=charged,
        suspect=suspect and not charged,
    )
    return Outcome(task=task, failure=failure)


def answer_before_death(ref: Any) -> Any:
    """What a dead actor had answered already, or None."""
    ready, _ = ray.wait([ref], timeout=0)
    try:
        return ray.get(ref) if ready else None
    except RayError:
        return None


def first_line(error: Exception) -> str:
    """Of what an error says."""
    return str(error).strip().split("\n", 1)[0]
