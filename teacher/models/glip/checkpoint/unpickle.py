"""Turns a checkpoint of the authors, which is a pickle, into safetensors; runs as a process of its own.

Promise: the file is read with `weights_only=True`, so nothing it names is imported or called, and what is written
are plain dense tensors. Run as a module with CHECKPOINT TARGET model|model_ema, it prints one JSON object: what was
found, or `error`.
"""

from __future__ import annotations

import json
import pickle
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

NESTED, AVERAGED = "model", "model_ema"
PREFIX = "module."
_ADVICE = re.compile(r"Please use|Please file|Check the documentation")


class NotACheckpoint(Exception):
    """The file holds something else than a dictionary of tensors."""


def unpack(source: Path, target: Path, part: str) -> dict[str, Any]:
    """Write the state dictionary of `source` to `target`; returns what else the file offers.

    part:   "model" (also a bare dictionary of tensors) or "model_ema", the trainer's average
    raises: NotACheckpoint; pickle.UnpicklingError for a pickle that asks for more than tensors
    """
    loaded = torch.load(source, map_location="cpu", weights_only=True)
    tensors = state_dictionary(loaded, part)
    save_file({name: value.contiguous().clone() for name, value in tensors.items()}, target)
    return {"averaged": isinstance(loaded.get(AVERAGED), Mapping), "tensors": len(tensors)}


def state_dictionary(loaded: object, part: str) -> dict[str, Tensor]:
    """The chosen dictionary of tensors, without the prefix of a data-parallel trainer."""
    if not isinstance(loaded, Mapping):
        raise NotACheckpoint(f"holds a {type(loaded).__name__}, expected a dictionary of tensors")
    chosen = loaded.get(part)
    if not isinstance(chosen, Mapping):
        if part == AVERAGED:
            raise NotACheckpoint(f"holds no {AVERAGED!r}, only {_named(loaded)}; leave --ema out")
        chosen = loaded
    found: dict[str, Tensor] = {}
    for key, value in chosen.items():
        name = str(key)
        while name.startswith(PREFIX):
            name = name.removeprefix(PREFIX)
        if name in found:
            raise NotACheckpoint(f"holds {name!r} twice, with and without {PREFIX!r}")
        found[name] = _dense(name, value)
    return found


def _dense(name: str, value: object) -> Tensor:
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_quantized or value.is_meta:
        raise NotACheckpoint(f"holds under {name!r} a {type(value).__name__} that is no dense tensor")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise NotACheckpoint(f"holds under {name!r} a tensor {list(value.shape)} that its bytes do not fill")
    return value.detach()


def _named(loaded: Mapping[Any, Any]) -> str:
    names = [str(key) for key in loaded]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _refusal(message: str) -> str:
    """What `weights_only` refused, without torch's long advice on how to load the file all the same."""
    _, _, refused = message.partition("WeightsUnpickler error: ")
    return " ".join(_ADVICE.split(refused or message)[0].split())[:600]


def main(arguments: list[str]) -> int:
    """The child's whole life; returns its exit code."""
    source, target, part = Path(arguments[0]), Path(arguments[1]), arguments[2]
    try:
        answer = unpack(source, target, part)
    except pickle.UnpicklingError as error:
        answer = {"error": _refusal(str(error))}
    except (NotACheckpoint, RuntimeError, LookupError, EOFError, OSError, ValueError, TypeError) as error:
        # The older format's reader ends in whatever it stumbles over, with as little to say as the number 101.
        named = "" if isinstance(error, NotACheckpoint) else f"{type(error).__name__}: "
        answer = {"error": (named + " ".join(str(error).split()))[:600]}
    print(json.dumps(answer))
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
