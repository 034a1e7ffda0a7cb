"""The actor that Ray runs. Its class is sent whole, so that it can look for our rooms before it imports any of them.

Promise: two tasks at a time, of which one is with the teacher; questions about its progress are answered beside them.
"""

from __future__ import annotations

TASKS_PER_ACTOR = (
    2  # one is with the teacher, one is made ready or committed: the teacher never waits for either
)
GROUPS = {"work": TASKS_PER_ACTOR, "ask": 1}


def actor_class() -> type:
    """The actor's class, local on purpose."""

    class TeacherActor:
        def __init__(self, spec_json: str) -> None:
            import threading

            self._spec_json = spec_json
            self._worker: object = None
            self._making = threading.Lock()
            self._steps = 0

        def look(self, names: tuple[str, ...]) -> tuple[dict[str, str | None], list[str], str]:
            """Where the rooms would come from, where this process prints to, and the id of its node."""
            import importlib.util
            import os

            import ray

            specs = {name: importlib.util.find_spec(name) for name in names}
            streams = [f"/proc/self/fd/{number}" for number in (1, 2)]
            printing = [os.readlink(stream) for stream in streams if os.path.islink(stream)]
            origins = {name: spec.origin if spec else None for name, spec in specs.items()}
            return origins, printing, ray.get_runtime_context().get_node_id()

        def run(self, task_json: str) -> str:
            """Do a task; its outcome."""
            from engine.task import Task

            outcome: str = self._made().run(Task.model_validate_json(task_json)).model_dump_json()  # type: ignore[attr-defined]
            return outcome

        def pulse(self) -> tuple[int, int]:
            """(samples gone through, MiB moved) so far: when neither changes, nothing moves."""
            from engine.worker.memory_limit import moved_mib

            return self._steps, moved_mib()

        def recall(self) -> None:
            """Give back what is not with the teacher yet."""
            self._made().recall()  # type: ignore[attr-defined]

        def _made(self) -> object:
            from engine.task import WorkerSpec
            from engine.telemetry.logs import configure
            from engine.telemetry.ray_metrics import RayMeter
            from engine.worker.memory_limit import end_above
            from engine.worker.worker import Worker

            with self._making:
                if self._worker is None:
                    spec = WorkerSpec.model_validate_json(self._spec_json)
                    if spec.run.memory_limit_gb is not None:
                        end_above(int(spec.run.memory_limit_gb * 2**30))
                    configure(spec.log)
                    self._worker = Worker(spec, meter=RayMeter(), progress=self._step)
                return self._worker

        def _step(self) -> None:
            self._steps += 1

    return TeacherActor
