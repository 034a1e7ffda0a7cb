"""The weight files of a model directory: one safetensors file, or shards and an index that names them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from schemas.errors import ConfigError
from teacher.models.foreign_files import describe_foreign_file

SAFETENSORS = ".safetensors"
WEIGHTS, WEIGHTS_INDEX = "model.safetensors", "model.safetensors.index.json"


def find_weight_files(folder: Path) -> tuple[str, ...]:
    """Return the names of the files from which `transformers` loads weights, sorted; () without any.

    raises: ConfigError for an index that names no shard, a missing one, or one that is not a safetensors file here, and
            for a file that is a web page, a pointer or the like
    """
    if (folder / WEIGHTS).is_file():
        names: tuple[str, ...] = (WEIGHTS,)
    elif (folder / WEIGHTS_INDEX).is_file():
        names = tuple(sorted(set(read_weight_map(folder).values())))
    else:
        return ()
    for name in names:
        if (foreign := describe_foreign_file(folder / name)) is not None:
            raise ConfigError(f"{folder / name} has no weights: it {foreign}")
    return names


def suggest_model_folder(folder: Path) -> str:
    """Return the end of a message: the model directory in a folder, as a training has one; "" if there is none."""
    inside = folder / "model"
    return f"; {inside} is a model directory: use it" if (inside / "config.json").is_file() else ""


def read_weight_map(folder: Path) -> Mapping[str, str]:
    """Return the shard of each tensor, by the index. Raises ConfigError as `find_weight_files` does."""
    index = folder / WEIGHTS_INDEX
    try:
        value = json.loads(index.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{index} cannot be read ({error}); copy the model again") from error
    shards = value.get("weight_map") if isinstance(value, dict) else None
    names = sorted({str(name) for name in shards.values()}) if isinstance(shards, dict) else []
    wrong = [name for name in names if not name.endswith(SAFETENSORS) or Path(name).name != name]
    if wrong or not names:
        raise ConfigError(
            f"{index} names the shards {(wrong or names)!r}, expected {SAFETENSORS} files of this directory; copy all "
            "files of the model again"
        )
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ConfigError(
            f"{folder} lacks {len(missing)} of {len(names)} shards of its weights: {', '.join(missing)}; copy or "
            "download these files again"
        )
    return cast("Mapping[str, str]", shards)
