"""Training by several workers: Ray Train places them, torch's DistributedDataParallel averages their gradients.

Checkpoints are ours, in `out`, which all nodes share. Ray does not manage them. Lost workers are replaced, and the
group continues from the newest checkpoint. Promise: an error of the run itself is raised once and not retried.
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
from typing import TYPE_CHECKING, Any

import torch

from engine.executors.ray_cluster import cluster
from schemas.errors import GroundswellError, RuntimeEnvironmentError
from schemas.progress import ProgressCallback
from student.data.streams import load_streams
from student.settings.train import TrainSettings
from student.training.checkpoints import CHECKPOINTS, RECORD
from student.training.distributed import TrainingGroup
from student.training.loop import RunSignals, TrainingLoop
from student.training.metrics_log import read_latest_record
from student.training.report import run_digest

if TYPE_CHECKING:
    from ray.train.torch import TorchTrainer

log = logging.getLogger(__name__)
_RAY_FILES, _STOP_FILE = ".ray", ".stop"
_POLL_S = 0.5
_MAX_MESSAGE_CHARACTERS = 160


def train_on_ray(
    settings: TrainSettings, digest: str, progress: ProgressCallback, stop: Callable[[], bool]
) -> bool:
    """Run all workers. Return True at the end of the run, False after a request to stop.

    raises: GroundswellError of a worker, RuntimeEnvironmentError if workers cannot be placed or are lost repeatedly
    """
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / _STOP_FILE).unlink(missing_ok=True)
    losses, newest = 0, _newest_checkpoint(out)
    # Ray reports lost workers on stdout, which is reserved for the report.
    with redirect_stdout(sys.stderr), cluster(settings.address, settings.allow_unauthenticated):
        try:
            while True:
                outcome = _Attempt(settings, digest).watch(progress, stop)
                if isinstance(outcome, bool):
                    return outcome
                losses = losses + 1 if _newest_checkpoint(out) == newest else 1
                newest = _newest_checkpoint(out)
                if losses > settings.restarts:
                    raise RuntimeEnvironmentError(
                        f"workers were lost {losses} times without a new checkpoint, the last time: {outcome}; see the "
                        "logs of Ray, or raise restarts"
                    )
                log.warning("workers were lost (%s); continuing from %s", outcome, newest or "the start")
        finally:
            (out / _STOP_FILE).unlink(missing_ok=True)
            shutil.rmtree(out / _RAY_FILES, ignore_errors=True)


def _newest_checkpoint(out: Path) -> str:
    """Return the name of the newest complete checkpoint, or ''."""
    return max((path.parent.name for path in (out / CHECKPOINTS).glob(f"step-*/{RECORD}")), default="")


class _Attempt:
    """One group of workers, watched by this process while they train."""

    def __init__(self, settings: TrainSettings, digest: str) -> None:
        self._settings, self._out = settings, Path(settings.out)
        self._trainer = _make_trainer(settings, digest)
        self._outcome: bool | BaseException | None = None

    def watch(self, progress: ProgressCallback, stop: Callable[[], bool]) -> bool | str:
        """Wait for the workers. Return whether the run is at its end, or how workers were lost."""
        thread = threading.Thread(target=self._fit, name="ray-train", daemon=True)
        thread.start()
        while thread.is_alive():
            if stop():
                (self._out / _STOP_FILE).touch()
            if (record := read_latest_record(self._out)) is not None:
                progress("train", record["step"] + 1, self._settings.steps)
            thread.join(_POLL_S)
        if isinstance(self._outcome, BaseException):
            return _describe_loss(self._outcome)
        return bool(self._outcome)

    def _fit(self) -> None:
        try:
            self._outcome = self._trainer.fit().return_value  # type: ignore[attr-defined]
        except BaseException as error:
            self._outcome = error


def _describe_loss(error: BaseException) -> str:
    """Return how workers were lost. Raise any other error: of the run, or of this process."""
    from ray.train import ControllerError, TrainingFailedError

    failures = list(getattr(error, "worker_failures", {}).values())
    for failure in failures:
        own = getattr(failure, "_base_exc", failure)
        if isinstance(own, GroundswellError):
            raise own
    if isinstance(error, ControllerError):
        raise RuntimeEnvironmentError(
            f"Ray Train could not start the workers: {error.controller_failure}; check that workers x cpus_per_worker "
            "and gpus_per_worker fit into the cluster"
        ) from error
    if not isinstance(error, TrainingFailedError):
        raise error
    lines = map(_read_last_line, failures)
    return "; ".join(lines) or str(error)[:_MAX_MESSAGE_CHARACTERS]


def _read_last_line(failure: BaseException) -> str:
    """Return the last line of a failure's text, shortened, or the name of its type if it has none."""
    own = getattr(failure, "_base_exc", failure)
    lines = str(failure).strip().splitlines() or [type(own).__name__]
    return lines[-1][:_MAX_MESSAGE_CHARACTERS]


def _make_trainer(settings: TrainSettings, digest: str) -> TorchTrainer:
    """Return the trainer. Its type hints are those of an older Ray Train, so some arguments are ignored."""
    # Otherwise Ray Train changes the directory of every worker.
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
    from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    gpu = settings.device == "cuda"
    resources = {"CPU": settings.cpus_per_worker} | ({"GPU": settings.gpus_per_worker} if gpu else {})
    return TorchTrainer(
        _run_worker,  # type: ignore[arg-type]
        train_loop_config={
            "settings": settings.model_dump(mode="json"),
            "digest": digest,
            "folder": os.getcwd(),
        },
        scaling_config=ScalingConfig(
            num_workers=settings.workers, use_gpu=gpu, resources_per_worker=resources
        ),
        run_config=RunConfig(  # type: ignore[call-arg]
            name=uuid.uuid4().hex,
            storage_path=str((Path(settings.out) / _RAY_FILES).resolve()),
            # Ray replaces preempted nodes. The end of a worker is handled here.
            failure_config=FailureConfig(max_failures=0, controller_failure_limit=2),  # type: ignore[call-arg]
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    )


def _run_worker(config: dict[str, Any]) -> bool:
    """Run one worker, from Ray Train's process group to the end of the run."""
    from ray.train import get_context

    if Path(config["folder"]).is_dir():
        os.chdir(config["folder"])  # relative paths of the settings begin there
    settings = TrainSettings.model_validate(config["settings"])
    torch.set_num_threads(settings.threads)
    streams = load_streams(settings)
    if (digest := run_digest(settings, streams)) != config["digest"]:
        raise RuntimeEnvironmentError(
            f"a worker read different data or a different start model than the driver (run digest {digest}, expected "
            f"{config['digest']}); every node must see the same files"
        )
    context = get_context()
    group = TrainingGroup(context.get_world_rank(), context.get_world_size(), settings.device)
    signals = RunSignals((Path(settings.out) / _STOP_FILE).exists, _PreemptionNotice())

    def ignore_progress(label: str, done: int, total: int) -> None:
        """Do nothing. The driver reports progress."""

    return TrainingLoop(settings, streams, config["digest"], group, ignore_progress, signals).run()


class _PreemptionNotice:
    """A callable that returns True once for each notice that a node with workers will be taken away."""

    def __init__(self) -> None:
        self._nodes: tuple[str, ...] = ()

    def __call__(self) -> bool:
        from ray.train import get_preemption_info

        info = get_preemption_info()
        nodes = tuple(info.preempted_node_ids) if info else ()
        is_new, self._nodes = nodes != self._nodes and bool(nodes), nodes
        return is_new
