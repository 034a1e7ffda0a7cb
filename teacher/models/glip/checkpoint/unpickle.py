"""Convert a checkpoint of the authors, which is a pickle, to safetensors, in a process of its own.

The file is read with `weights_only=True`, so nothing that it names is imported or called. Plain dense tensors are
written. Run as a module with CHECKPOINT TARGET model|model_ema, it prints one JSON object: facts, or `error`.
"""

from __future__ import annotations

import json
import pickle
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import JsonValue
from safetensors.torch import save_file
from torch import Tensor

NESTED, AVERAGED = "model", "model_ema"
PREFIX = "module."
_ADVICE = re.compile(r"Please use|Please file|Check the documentation")


class NotACheckpointError(Exception):
    """The file is not a dictionary of tensors."""


def unpack(source: Path, target: Path, part: str) -> dict[str, JsonValue]:
    """Write the state dictionary of `source` to `target`. Return what else the file offers.

    part:   "model" (also a bare dictionary of tensors) or "model_ema", the trainer's average
    raises: NotACheckpointError; pickle.UnpicklingError for a pickle that asks for more than tensors
    """
    loaded = torch.load(source, map_location="cpu", weights_only=True)
    tensors = read_state_dict(loaded, part)
    save_file({name: value.contiguous().clone() for name, value in tensors.items()}, target)
    return {"averaged": isinstance(loaded.get(AVERAGED), Mapping), "tensors": len(tensors)}


def read_state_dict(loaded: object, part: str) -> dict[str, Tensor]:
    """Return the chosen dictionary of tensors, without the prefix of a data-parallel trainer."""
    if not isinstance(loaded, Mapping):
        raise NotACheckpointError(f"contains a {type(loaded).__name__}, expected a dictionary of tensors")
    chosen = loaded.get(part)
    if not isinstance(chosen, Mapping):
        if part == AVERAGED:
            raise NotACheckpointError(f"has no {AVERAGED!r}, only {_list_keys(loaded)}; leave --ema out")
        chosen = loaded
    found: dict[str, Tensor] = {}
    for key, value in chosen.items():
        name = str(key)
        while name.startswith(PREFIX):
            name = name.removeprefix(PREFIX)
        if name in found:
            raise NotACheckpointError(f"has {name!r} twice, with and without {PREFIX!r}")
        found[name] = _check_dense(name, value)
    return found


def _check_dense(name: str, value: object) -> Tensor:
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_quantized or value.is_meta:
        raise NotACheckpointError(f"has under {name!r} a {type(value).__name__} that is not a dense tensor")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise NotACheckpointError(f"has under {name!r} a tensor {list(value.shape)} with too few bytes")
    return value.detach()


def _list_keys(loaded: Mapping[object, object]) -> str:
    names = [str(key) for key in loaded]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _shorten_refusal(message: str) -> str:
    """Return what `weights_only` refused, without torch's long advice on how to load the file anyway."""
    _, _, refused = message.partition("WeightsUnpickler error: ")
    return " ".join(_ADVICE.split(refused or message)[0].split())[:600]


def main(arguments: list[str]) -> int:
    """Run the child process. Return its exit code."""
    source, target, part = Path(arguments[0]), Path(arguments[1]), arguments[2]
    try:
        answer: dict[str, JsonValue] = unpack(source, target, part)
    except pickle.UnpicklingError as error:
        answer = {"error": _shorten_refusal(str(error))}
    except (
        NotACheckpointError,
        RuntimeError,
        LookupError,
        EOFError,
        OSError,
        ValueError,
        TypeError,
    ) as error:
        # The reader of the older format raises any error, with messages as short as the number 101.
        prefix = "" if isinstance(error, NotACheckpointError) else f"{type(error).__name__}: "
        answer = {"error": (prefix + " ".join(str(error).split()))[:600]}
    print(json.dumps(answer))
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
