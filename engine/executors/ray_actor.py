"""The actor that Ray runs. Its class is sent by value, so that it can check our packages before it imports them.

It runs two tasks at a time, of which one is with the teacher. Questions about its progress are answered meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.worker.worker import Worker

TASKS_PER_ACTOR = 2
"""One is with the teacher, one is prepared or committed, so the teacher never waits for either."""
WORK_GROUP, QUERY_GROUP = "work", "ask"
CONCURRENCY_GROUPS = {WORK_GROUP: TASKS_PER_ACTOR, QUERY_GROUP: 1}
Placement = tuple[dict[str, str | None], list[str], str]
"""Where an actor imports our packages from, the files that it prints to, and the id of its node."""


def make_actor_class() -> type:
    """Return the class of teacher actors. It is local on purpose, see above."""

    class TeacherActor:
        def __init__(self, spec_json: str) -> None:
            import threading

            self._spec_json = spec_json
            self._worker: Worker | None = None
            self._load_lock = threading.Lock()
            self._steps = 0

        def describe_placement(self, names: tuple[str, ...]) -> Placement:
            """Return where this actor is placed. names: the packages to look for."""
            import importlib.util
            import os

            import ray

            specs = {name: importlib.util.find_spec(name) for name in names}
            streams = [f"/proc/self/fd/{number}" for number in (1, 2)]
            outputs = [os.readlink(stream) for stream in streams if os.path.islink(stream)]
            origins = {name: spec.origin if spec else None for name, spec in specs.items()}
            return origins, outputs, ray.get_runtime_context().get_node_id()

        def run(self, task_json: str) -> str:
            """Run a task and return its outcome."""
            from engine.task import Task

            return self._load().run(Task.model_validate_json(task_json)).model_dump_json()

        def heartbeat(self) -> tuple[int, int]:
            """Return (samples processed, MiB read and written) so far. A worker in which neither changes is stuck."""
            from engine.worker.sandbox.memory_limit import io_mib

            return self._steps, io_mib()

        def recall(self) -> None:
            """Hand back the tasks that are not with the teacher yet."""
            self._load().recall()

        def _load(self) -> Worker:
            from engine.task import WorkerSpec
            from engine.telemetry.logs import configure
            from engine.telemetry.ray_metrics import RayMeter
            from engine.worker.sandbox.memory_limit import enforce_limit
            from engine.worker.worker import Worker

            with self._load_lock:
                if self._worker is None:
                    spec = WorkerSpec.model_validate_json(self._spec_json)
                    if spec.run.memory_limit_gb is not None:
                        enforce_limit(int(spec.run.memory_limit_gb * 2**30))
                    configure(spec.log)
                    self._worker = Worker(spec, meter=RayMeter(), progress=self._count_step)
                return self._worker

        def _count_step(self) -> None:
            self._steps += 1

    return TeacherActor
