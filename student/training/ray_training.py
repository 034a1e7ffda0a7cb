"""Training by several workers: Ray Train places them, torch's DistributedDataParallel averages their gradients.

Checkpoints are ours, in `out`, which all nodes share; Ray is told nothing of them. Workers that were lost are replaced
and the group goes on from the newest one. Promise: an error of the run itself is raised once, not tried again.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
import uuid
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch

from engine.executors.ray_cluster import cluster
from schemas.errors import EnvironmentProblem, GroundswellError
from student.data.streams import load_streams
from student.settings.train import TrainSettings
from student.training.checkpoints import RECORD
from student.training.distributed import Place
from student.training.loop import CHECKPOINTS, Asked, Progress, TrainingLoop
from student.training.metrics_log import newest_record
from student.training.report import run_digest

log = logging.getLogger(__name__)
_RAY_FILES, _STOP = ".ray", ".stop"
_LOOK_S = 0.5
_TOLD_CHARACTERS = 160


def train_on_ray(settings: TrainSettings, digest: str, progress: Progress, stop: Callable[[], bool]) -> bool:
    """Run all workers until the end (True) or until they were asked to stop (False).

    raises: GroundswellError of a worker, EnvironmentProblem when workers find no place or are lost again and again
    """
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / _STOP).unlink(missing_ok=True)
    lost, newest = 0, _newest(out)
    # Ray tells of lost workers on stdout, which is for the report.
    with redirect_stdout(sys.stderr), cluster(settings.address, settings.allow_unauthenticated):
        try:
            while True:
                answer = _Attempt(settings, digest).watched(progress, stop)
                if isinstance(answer, bool):
                    return answer
                lost = lost + 1 if _newest(out) == newest else 1
                newest = _newest(out)
                if lost > settings.restarts:
                    raise EnvironmentProblem(
                        f"workers were lost {lost} times without a checkpoint in between, at last: {answer}"
                    )
                log.warning("workers were lost (%s); going on from %s", answer, newest or "the start")
        finally:
            (out / _STOP).unlink(missing_ok=True)
            shutil.rmtree(out / _RAY_FILES, ignore_errors=True)


def _newest(out: Path) -> str:
    """Name of the newest complete checkpoint, or ''."""
    return max((path.parent.name for path in (out / CHECKPOINTS).glob(f"step-*/{RECORD}")), default="")


class _Attempt:
    """One group of workers, watched from this process while they train."""

    def __init__(self, settings: TrainSettings, digest: str) -> None:
        self._settings, self._out = settings, Path(settings.out)
        self._trainer = _trainer(settings, digest)
        self._answer: bool | BaseException | None = None

    def watched(self, progress: Progress, stop: Callable[[], bool]) -> bool | str:
        """Whether the run came to its end, or how workers were lost."""
        thread = threading.Thread(target=self._fit, name="ray-train", daemon=True)
        thread.start()
        while thread.is_alive():
            if stop():
                (self._out / _STOP).touch()
            if (record := newest_record(self._out)) is not None:
                progress("train", record["step"] + 1, self._settings.steps)
            thread.join(_LOOK_S)
        if isinstance(self._answer, BaseException):
            return _told(self._answer)
        return bool(self._answer)

    def _fit(self) -> None:
        try:
            self._answer = self._trainer.fit().return_value
        except BaseException as error:
            self._answer = error


def _told(error: BaseException) -> str:
    """How workers were lost; raises what is no loss of workers: an error of the run, or of this process."""
    from ray.train import ControllerError, TrainingFailedError

    failures = list(getattr(error, "worker_failures", {}).values())
    for failure in failures:
        own = getattr(failure, "_base_exc", failure)
        if isinstance(own, GroundswellError):
            raise own
    if isinstance(error, ControllerError):
        raise EnvironmentProblem(
            f"Ray Train could not start the workers: {error.controller_failure}; see that workers x cpus_per_worker "
            "and gpus_per_worker fit into the cluster"
        ) from error
    if not isinstance(error, TrainingFailedError):
        raise error
    lines = [str(failure).strip().splitlines()[-1][:_TOLD_CHARACTERS] for failure in failures]
    return "; ".join(lines) or str(error)[:_TOLD_CHARACTERS]


def _trainer(settings: TrainSettings, digest: str) -> Any:
    # Ray Train would otherwise change every worker's directory.
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
    from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    gpu = settings.device == "cuda"
    resources = {"CPU": settings.cpus_per_worker} | ({"GPU": settings.gpus_per_worker} if gpu else {})
    return TorchTrainer(
        _work,
        train_loop_config={
            "settings": settings.model_dump(mode="json"),
            "digest": digest,
            "folder": os.getcwd(),
        },
        scaling_config=ScalingConfig(
            num_workers=settings.workers, use_gpu=gpu, resources_per_worker=resources
        ),
        run_config=RunConfig(
            name=uuid.uuid4().hex,
            storage_path=str((Path(settings.out) / _RAY_FILES).resolve()),
            # Preempted nodes are Ray's to replace; a worker's own end is looked at here.
            failure_config=FailureConfig(max_failures=0, controller_failure_limit=2),
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    )


def _work(config: dict[str, Any]) -> bool:
    """One worker, from Ray Train's process group to the end of the run."""
    from ray.train import get_context

    if Path(config["folder"]).is_dir():
        os.chdir(config["folder"])  # relative paths of the settings start there
    settings = TrainSettings.model_validate(config["settings"])
    torch.set_num_threads(settings.threads)
    streams = load_streams(settings)
    if run_digest(settings, streams) != config["digest"]:
        raise EnvironmentProblem(
            "a worker sees other data or another start than the driver: every node must reach the same files"
        )
    context = get_context()
    place = Place(context.get_world_rank(), context.get_world_size(), settings.device)
    asked = Asked((Path(settings.out) / _STOP).exists, _Leaving())
    return TrainingLoop(settings, streams, config["digest"], place, lambda *told: None, asked).run()


class _Leaving:
    """True once for each notice that a node with workers will be taken away."""

    def __init__(self) -> None:
        self._told: tuple[str, ...] = ()

    def __call__(self) -> bool:
        from ray.train import get_preemption_info

        info = get_preemption_info()
        nodes = tuple(info.preempted_node_ids) if info else ()
        new, self._told = nodes != self._told and bool(nodes), nodes
        return new
