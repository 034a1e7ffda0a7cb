"""The executor on Ray: teacher actors that pull tasks, on a cluster of one that we start or on a running one.

Promise: an actor's death costs its running task one attempt and its waiting tasks nothing; an actor never works with
code other than the driver's; a pool that finds no place says so with the arithmetic.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from engine.settings import RunSettings
from engine.storage import open_store
from engine.work.ray_token import provide_token
from engine.work.rooms import ROOMS, check_rooms, package_root
from engine.work.tasks import Failure, Outcome, PoolState, Task, WorkerSpec
from engine.work.worker_output import keep_printed, printed
from schemas.errors import EnvironmentProblem

log = logging.getLogger(__name__)
TASKS_PER_ACTOR = 2  # one runs, one waits: an actor never idles for an answer of the driver's
MAX_FAILED_STARTS = 3  # in a row; nodes come and go, a broken installation stays
_POLL_S = 1.0
_REACH_S = 10.0
_SHOWN_LINES = 5  # of what a dead worker printed


@contextmanager
def cluster(address: str | None = None) -> Iterator[None]:
    """A Ray cluster for the duration: the one this process is connected to, the one at `address`, or an own one.

    address: host:port or `auto`; none: RAY_ADDRESS, and without that a cluster of one that ends with the block
    raises:  EnvironmentProblem when no cluster answers at the address
    """
    if ray.is_initialized():
        yield
        return
    _connect(address or os.environ.get("RAY_ADDRESS"))
    try:
        yield
    finally:
        ray.shutdown()


def _connect(address: str | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # one thread gives equal bytes; actors are the parallelism
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        provide_token()
        options |= {"address": "local", "include_dashboard": False}
    else:
        _check_reachable(address)
        if os.environ.get("RAY_AUTH_MODE") != "token":
            log.warning(
                "connecting to the Ray cluster at %s without a token: whoever reaches a cluster that asks for none "
                "runs code there; start it with RAY_AUTH_MODE=token (docs/cluster.md)",
                address,
            )
        environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": package_root()}
        options |= {"address": address, "runtime_env": {"env_vars": environment}}
    before = os.getcwd()
    os.chdir(package_root())  # Ray puts the current directory first on the workers' path
    try:
        ray.init(**options)
    except (RayError, ConnectionError, RuntimeError, ValueError) as error:
        raise EnvironmentProblem(
            f"no Ray cluster at {address or 'this machine'}: {error}; a cluster that was started with a token wants "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH here too (docs/cluster.md)"
        ) from error
    finally:
        os.chdir(before)


def _check_reachable(address: str) -> None:
    """Raise EnvironmentProblem at once where nothing listens; Ray itself would try for two minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACH_S).close()
    except OSError as error:
        raise EnvironmentProblem(
            f"nothing answers at {address} ({error}); give host:port of a Ray head (`ray start --head`), or leave the "
            "address out and a cluster of this machine is started"
        ) from error


def _actor_class() -> type:
    """The actor's class, local on purpose: Ray then sends its code, and it can look for our rooms before it imports
    any of them."""

    class TeacherActor:
        def __init__(self, spec_json: str) -> None:
            self._spec_json = spec_json
            self._worker: Any = None

        def look(self, names: tuple[str, ...]) -> tuple[dict[str, str | None], list[str]]:
            """Where the rooms would come from, and where this process prints to."""
            import importlib.util
            import os

            specs = {name: importlib.util.find_spec(name) for name in names}
            streams = [f"/proc/self/fd/{number}" for number in (1, 2)]
            printing = [os.readlink(stream) for stream in streams if os.path.islink(stream)]
            return {name: spec.origin if spec else None for name, spec in specs.items()}, printing

        def run(self, task_json: str) -> str:
            from engine.ray_meter import RayMeter
            from engine.work.logs import configure
            from engine.work.tasks import Task, WorkerSpec
            from engine.work.worker import Worker

            if self._worker is None:
                spec = WorkerSpec.model_validate_json(self._spec_json)
                configure(spec.log)
                self._worker = Worker(spec, meter=RayMeter())
            outcome: str = self._worker.run(Task.model_validate_json(task_json)).model_dump_json()
            return outcome

    return TeacherActor


@dataclass(eq=False)
class _Actor:
    """An actor as the driver sees it; `tasks` in the order handed over, so the first is the one that runs."""

    handle: Any
    looked: Any
    placed: bool = False
    printing: list[str] = field(default_factory=list)
    tasks: dict[Any, Task] = field(default_factory=dict)


class RayPool:
    """A Pool of teacher actors: work begins when `min` are placed, up to `max` join when they find room."""

    def __init__(self, spec: WorkerSpec, run: RunSettings, address: str | None = None) -> None:
        self._spec, self._run = spec, run
        self._open = ExitStack()
        self._ended: list[Outcome] = []
        self._actors: list[_Actor] = []
        self._printing: list[str] = []
        self._failed_starts = 0
        self._state = PoolState(wanted=run.actors.max)
        try:
            # Ray prints what it has to say of dead workers on stdout, which belongs to our data
            self._open.enter_context(redirect_stdout(sys.stderr))
            self._open.enter_context(cluster(address))
            self._remote: Any = ray.remote(_actor_class())
            self._actors = [self._start() for _ in range(run.actors.max)]
            self._step_until(lambda: self._placed() >= run.actors.min, actors=run.actors.min)
        except BaseException:
            self.close()
            raise

    def capacity(self) -> int:
        """See Pool."""
        return sum(TASKS_PER_ACTOR - len(actor.tasks) for actor in self._actors if actor.placed)

    def submit(self, task: Task) -> None:
        """Give the task to the placed actor with the least to do."""
        actor = min((actor for actor in self._actors if actor.placed), key=lambda actor: len(actor.tasks))
        actor.tasks[actor.handle.run.remote(task.model_dump_json())] = task

    def busy(self) -> int:
        """See Pool."""
        return sum(len(actor.tasks) for actor in self._actors) + len(self._ended)

    def wait_for_room(self) -> None:
        """See Pool."""
        self._step_until(lambda: self.capacity() > 0, actors=1)

    def next_outcome(self) -> Outcome:
        """See Pool."""
        self._step_until(lambda: bool(self._ended), actors=1)
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
                keep_printed(open_store(self._spec.output_url, self._spec.output_storage), self._printing)
                self._printing = []

    def _start(self) -> _Actor:
        handle = self._remote.options(
            num_cpus=self._run.cpus_per_actor,
            num_gpus=self._run.gpus_per_actor,
            max_restarts=0,
            max_task_retries=0,
        ).remote(self._spec.model_dump_json())
        return _Actor(handle, handle.look.remote(ROOMS))

    def _placed(self) -> int:
        return sum(actor.placed for actor in self._actors)

    def _step_until(self, reached: Callable[[], bool], actors: int) -> None:
        """Take note of what ends until `reached`. Raises EnvironmentProblem after too long with fewer placed actors."""
        deadline = time.monotonic() + self._run.placement_timeout_s
        while not reached():
            if self._placed() >= actors:
                deadline = time.monotonic() + self._run.placement_timeout_s
            elif time.monotonic() > deadline:
                raise EnvironmentProblem(self._arithmetic(self._placed()))
            self._step(_POLL_S)

    def _step(self, timeout_s: float) -> None:
        """Wait until something ends, and take note of it."""
        looks = {actor.looked: actor for actor in self._actors if not actor.placed}
        runs = {ref: actor for actor in self._actors for ref in actor.tasks}
        ended, _ = ray.wait([*looks, *runs], num_returns=1, timeout=timeout_s)
        for ref in ended:
            actor = looks.get(ref) or runs[ref]
            try:
                self._take(actor, ref, ray.get(ref))
            except RayActorError as error:
                self._bury(actor, error)
            except RayError as error:
                self._fail(
                    actor.tasks.pop(ref), f"{type(error).__name__}: {_first_line(error)}", charged=True
                )

    def _take(self, actor: _Actor, ref: Any, answer: Any) -> None:
        if ref is actor.looked:
            origins, actor.printing = answer
            check_rooms(origins, package_root(), "a Ray worker")
            self._printing += actor.printing
            actor.placed = True
            self._failed_starts = 0
        else:
            del actor.tasks[ref]
            self._ended.append(Outcome.model_validate_json(answer))

    def _bury(self, actor: _Actor, error: RayActorError) -> None:
        """Replace a dead actor. Only the task it ran is charged, and none when its node was taken away."""
        last = [line for path in actor.printing for line in printed(path).splitlines()[-_SHOWN_LINES:]]
        log.warning("a teacher actor died: %s", "\n  ".join([_first_line(error), *last]))
        ray.kill(actor.handle)  # one that only cannot be reached must not go on beside its replacement
        self._failed_starts += not actor.placed
        if self._failed_starts > MAX_FAILED_STARTS:
            raise EnvironmentProblem(f"teacher actors cannot start: {error}") from error
        charged = not error.preempted
        self._state.deaths += charged
        self._state.preempted += not charged
        for ref, task in list(actor.tasks.items()):
            try:
                self._take(actor, ref, ray.get(ref))  # an answer given before the death counts
            except RayError:
                self._fail(task, f"the worker died: {_first_line(error)}", charged)
                charged = False
        self._actors[self._actors.index(actor)] = self._start()

    def _fail(self, task: Task, detail: str, charged: bool) -> None:
        failure = Failure(code="WORKER_DIED", detail=detail, retryable=True, charged=charged)
        self._ended.append(Outcome(task=task, failure=failure))

    def _arithmetic(self, placed: int) -> str:
        cluster: Any = ray  # its resource functions carry no types
        have, free = cluster.cluster_resources(), cluster.available_resources()
        run = self._run
        return (
            f"{placed} of {run.actors.min} teacher actors found a place in {run.placement_timeout_s:.0f} s. Each asks "
            f"for {run.cpus_per_actor:g} CPU and {run.gpus_per_actor:g} GPU; the cluster has {have.get('CPU', 0):g} "
            f"CPU and {have.get('GPU', 0):g} GPU, free are {free.get('CPU', 0):g} and {free.get('GPU', 0):g}. Lower "
            "run.actors.min, run.cpus_per_actor or run.gpus_per_actor, or add nodes"
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
