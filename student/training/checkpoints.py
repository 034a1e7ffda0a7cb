"""Checkpoints: a Hugging Face directory plus the trainer's state. A small record of it is written last.

A directory without `trainer.json` is incomplete after a kill and is never read. There are no pickles: the moments of
the optimizer are safetensors. Random numbers and the position in the data are functions of seed and step, so only the
step is stored.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from engine.storage.local_files import replace_file
from schemas.errors import ConflictError
from teacher.models.glip import GlipForGrounding, GlipProcessor
from teacher.models.weight_files import WEIGHTS

CHECKPOINTS = "checkpoints"
RECORD = "trainer.json"
_STATE = "trainer.safetensors"
_MOMENTS = ("exp_avg", "exp_avg_sq")


class PendingLog(TypedDict):
    """Measurements since the last line of the log, for its next line: losses summed over steps, counts, steps."""

    losses: dict[str, float]
    counts: dict[str, int]
    steps: int


class CheckpointRecord(TypedDict):
    """The content of `trainer.json`."""

    step: int
    run_digest: str
    logged: PendingLog


_NOTHING_PENDING: PendingLog = {"losses": {}, "counts": {}, "steps": 0}


def save_checkpoint(
    folder: Path,
    step: int,
    run_digest: str,
    model: GlipForGrounding,
    processor: GlipProcessor,
    optimizer: torch.optim.Optimizer,
    average: dict[str, Tensor] | None,
    pending: PendingLog | None = None,
) -> Path:
    """Write the state before step `step`. Return its directory.

    average: averaged weights, if the run has them
    pending: measurements since the last line of the log
    """
    target = folder / f"step-{step:08d}"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    model.save_pretrained(target)
    processor.save_pretrained(target)
    save_file(_trainer_tensors(model, optimizer, average), target / _STATE)
    for path in target.iterdir():
        _sync(path)
    record: CheckpointRecord = {
        "step": step,
        "run_digest": run_digest,
        "logged": pending or _NOTHING_PENDING,
    }
    replace_file(target / RECORD, (json.dumps(record, indent=1) + "\n").encode())
    return target


def _sync(path: Path) -> None:
    """Force the file to disk. In a power loss, the record must not be on disk without the files that it describes."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def read_record(path: Path) -> CheckpointRecord:
    """Return the record of a checkpoint. Raise ConflictError if it is not valid."""
    try:
        return _parse_record(json.loads((path / RECORD).read_text()))
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise ConflictError(
            f"{path / RECORD} is not the record of a checkpoint ({type(error).__name__}: {error}); remove {path}, and "
            "the run continues from the checkpoint before"
        ) from error


def _parse_record(record: Mapping[str, Any]) -> CheckpointRecord:
    step, digest = int(record["step"]), str(record["run_digest"])
    logged = record.get("logged", _NOTHING_PENDING)
    pending: PendingLog = {
        "losses": {name: float(value) for name, value in dict(logged["losses"]).items()},
        "counts": {name: int(value) for name, value in dict(logged["counts"]).items()},
        "steps": int(logged["steps"]),
    }
    return {"step": step, "run_digest": digest, "logged": pending}


def latest_checkpoint(folder: Path, run_digest: str) -> tuple[Path, int] | None:
    """Return the newest complete checkpoint and its step, or None.

    raises: ConflictError for a checkpoint of another run: other settings, other data or another start
    """
    for path in sorted(folder.glob("step-*"), reverse=True):
        if not (path / RECORD).exists():
            continue
        record = read_record(path)
        if record["run_digest"] != run_digest:
            raise ConflictError(
                f"{path} belongs to the run {record['run_digest']}, not {run_digest}: settings, data or start have "
                "changed; choose another `out`, or remove that folder"
            )
        return path, record["step"]
    return None


@torch.no_grad()
def restore(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: dict[str, Tensor] | None
) -> None:
    """Load a checkpoint's weights, moments and averaged weights. Raise ConflictError for a damaged checkpoint."""
    try:
        _restore(path, model, optimizer, average)
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise ConflictError(
            f"{path} is damaged ({type(error).__name__}: {str(error)[:200]}); remove it, and the run continues from "
            "the checkpoint before, or from the start"
        ) from error


def _restore(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: dict[str, Tensor] | None
) -> None:
    model.load_state_dict(load_file(path / WEIGHTS))
    tensors = load_file(path / _STATE)
    for name, parameter in model.named_parameters():
        if f"exp_avg.{name}" in tensors:
            # In the parameter's own memory layout: the fused optimizer reads all of them as flat memory.
            state = {
                moment: torch.empty_like(parameter).copy_(tensors[f"{moment}.{name}"]) for moment in _MOMENTS
            }
            optimizer.state[parameter] = {"step": tensors[f"step.{name}"].to(parameter.device), **state}
    if average is not None:
        for name, value in average.items():
            value.copy_(tensors[f"average.{name}"])


def remove_old_checkpoints(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` complete checkpoints, and every incomplete one."""
    complete = [path for path in sorted(folder.glob("step-*")) if (path / RECORD).exists()]
    for path in set(folder.glob("step-*")) - set(complete[-keep:]):
        (path / RECORD).unlink(missing_ok=True)  # first, so that a kill in the middle leaves no checkpoint
        shutil.rmtree(path)


def _trainer_tensors(
    model: nn.Module, optimizer: torch.optim.Optimizer, average: dict[str, Tensor] | None
) -> dict[str, Tensor]:
    tensors = {f"average.{name}": value.contiguous() for name, value in (average or {}).items()}
    for name, parameter in model.named_parameters():
        state = optimizer.state.get(parameter)
        if state:
            tensors |= {f"{moment}.{name}": state[moment].contiguous() for moment in _MOMENTS}
            tensors[f"step.{name}"] = torch.as_tensor(state["step"])
    return tensors
