"""The files of a model directory in Hugging Face's layout: which decide its answers, and which must not be loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from pydantic import JsonValue

from schemas.digests import file_sha256
from schemas.errors import ConfigError, NotFoundError
from teacher.models.weight_files import (
    SAFETENSORS,
    WEIGHTS,
    WEIGHTS_INDEX,
    find_weight_files,
    suggest_model_folder,
)

CONFIG = "config.json"
_ADAPTER = "adapter_config.json"
_WEIGHTS_KEY = "transformers_weights"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
NAMES = frozenset(
    (
        CONFIG,
        WEIGHTS_INDEX,
        "processor_config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.txt",
        "vocab.json",
        "merges.txt",
    )
)
"""Files besides the weights that decide answers. Code files, cards and pickles are never read."""


def list_model_files(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file that decides the model's answers, by name.

    raises: NotFoundError for a directory that does not exist or has no weights in safetensors form, ConfigError for one
            whose weights are, or may be, elsewhere
    """
    if not folder.is_dir():
        raise NotFoundError(
            f"teacher.model {str(folder)!r} is not a directory; give a model directory with {CONFIG} and "
            f"{SAFETENSORS} weights, or a hub id with its commit (owner/name@commit)"
        )
    if not find_weight_files(folder):
        found = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
        reason = (
            f"only {', '.join(found)}, which can run code when it is loaded" if found else "no weights at all"
        )
        raise NotFoundError(
            f"{folder} has {reason}; expected {WEIGHTS}, or {WEIGHTS_INDEX} and its shards. Convert it with "
            f"`save_pretrained` of transformers, or take a revision that has them{suggest_model_folder(folder)}"
        )
    _check_own_weights(folder)
    files = sorted(path for path in folder.iterdir() if path.name in NAMES or path.suffix == SAFETENSORS)
    return {path.name: file_sha256(path) for path in files}


def _check_own_weights(folder: Path) -> None:
    """Raise ConfigError for a directory whose weights `transformers` would load from elsewhere."""
    if (folder / _ADAPTER).is_file():
        raise ConfigError(
            f"{folder} has {_ADAPTER}, so it is an adapter of other weights; merge them "
            "(`merge_and_unload` of peft) and save the result"
        )
    if (folder / CONFIG).is_file() and read_object(folder / CONFIG).get(_WEIGHTS_KEY) is not None:
        raise ConfigError(f"{folder / CONFIG} names other weights in {_WEIGHTS_KEY}; remove this key")


def read_object(path: Path) -> Mapping[str, JsonValue]:
    """Return the object of a JSON file. Raises ConfigError for other content."""
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); copy the model again") from error
    if not isinstance(value, dict):
        raise ConfigError(
            f"{path} has a JSON {type(value).__name__}, expected an object; copy the model again"
        )
    return cast("Mapping[str, JsonValue]", value)


def find_model_type(path: Path) -> str | None:
    """Return `model_type` of a directory's config.json; None for anything else. Never raises."""
    try:
        value = read_object(path / CONFIG).get("model_type")
    except (OSError, ConfigError):
        return None
    return value if isinstance(value, str) else None


def read_image_settings(folder: Path) -> Mapping[str, JsonValue]:
    """Return the settings of the image processor, from processor_config.json or preprocessor_config.json.

    raises: NotFoundError without either file, because transformers' defaults would give other boxes
    """
    nested, flat = folder / "processor_config.json", folder / "preprocessor_config.json"
    if nested.is_file():
        own = read_object(nested).get("image_processor")
        if isinstance(own, dict):
            return own
    if flat.is_file():
        return read_object(flat)
    raise NotFoundError(
        f"{folder} has neither {flat.name} nor {nested.name}, which say how images are resized; copy all files of "
        "the model"
    )
