"""Checkpoints: a Hugging Face directory plus the trainer's state, whose small record is written last.

A directory without `trainer.json` is the remains of a kill and is never read. No pickles: the optimizer's moments are
safetensors. Random numbers and the data's position are functions of seed and step, so the step is all there is of them.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from engine.storage.local_files import replace_file
from schemas.errors import ConflictError

RECORD = "trainer.json"
_STATE = "trainer.safetensors"
_MOMENTS = ("exp_avg", "exp_avg_sq")
_NOTHING_LOGGED: dict[str, Any] = {"losses": {}, "counts": {}, "steps": 0}


def save_checkpoint(
    folder: Path,
    step: int,
    run_digest: str,
    model: Any,
    processor: Any,
    optimizer: torch.optim.Optimizer,
    average: dict[str, Tensor] | None,
    logged: dict[str, Any] | None = None,
) -> Path:
    """Write the state before step `step`; returns its directory.

    logged: what was measured since the last line of the log, to be told in the next one
    """
    target = folder / f"step-{step:08d}"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    model.save_pretrained(target)
    processor.save_pretrained(target)
    save_file(_trainer_tensors(model, optimizer, average), target / _STATE)
    for path in target.iterdir():
        _to_disk(path)
    values = {"step": step, "run_digest": run_digest, "logged": logged or _NOTHING_LOGGED}
    replace_file(target / RECORD, (json.dumps(values, indent=1) + "\n").encode())
    return target


def _to_disk(path: Path) -> None:
    """A record must not reach the disk before what it vouches for, should the machine lose power."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def read_record(path: Path) -> dict[str, Any]:
    """The record of a checkpoint: `step`, `run_digest`, `logged`.

    Raises ConflictError for one that is no such record.
    """
    try:
        return _needed(json.loads((path / RECORD).read_text()))
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise ConflictError(
            f"{path / RECORD} is no record of a checkpoint ({type(error).__name__}: {error}); remove {path}, and the "
            "run goes on from the checkpoint before"
        ) from error


def _needed(record: dict[str, Any]) -> dict[str, Any]:
    step, digest = int(record["step"]), str(record["run_digest"])
    logged = record.get("logged", _NOTHING_LOGGED)
    known = {
        "losses": {name: float(value) for name, value in dict(logged["losses"]).items()},
        "counts": {name: int(value) for name, value in dict(logged["counts"]).items()},
        "steps": int(logged["steps"]),
    }
    return {"step": step, "run_digest": digest, "logged": known}


def latest_checkpoint(folder: Path, run_digest: str) -> tuple[Path, int] | None:
    """The newest complete checkpoint and its step, or None.

    Raises ConflictError for one of another run: other settings, other data or another start.
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
    """Put a checkpoint's weights, moments and averaged weights back in place.

    Raises ConflictError for a damaged one.
    """
    try:
        _restore(path, model, optimizer, average)
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise ConflictError(
            f"{path} is damaged ({type(error).__name__}: {str(error)[:200]}); remove it, and the run goes on from the "
            "checkpoint before, or from the start"
        ) from error


def _restore(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: dict[str, Tensor] | None
) -> None:
    model.load_state_dict(load_file(path / "model.safetensors"))
    tensors = load_file(path / _STATE)
    for name, parameter in model.named_parameters():
        if f"exp_avg.{name}" in tensors:
            # In the parameter's own memory layout: the fused optimizer walks all of them as flat memory.
            state = {
                moment: torch.empty_like(parameter).copy_(tensors[f"{moment}.{name}"]) for moment in _MOMENTS
            }
            optimizer.state[parameter] = {"step": tensors[f"step.{name}"].to(parameter.device), **state}
    if average is not None:
        for name, value in average.items():
            value.copy_(tensors[f"average.{name}"])


def drop_old(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` complete checkpoints, and every incomplete one."""
    complete = [path for path in sorted(folder.glob("step-*")) if (path / RECORD).exists()]
    for path in set(folder.glob("step-*")) - set(complete[-keep:]):
        (path / RECORD).unlink(missing_ok=True)  # first: what a kill leaves half removed is no checkpoint
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
