"""Facts about a model directory in Hugging Face's layout, read from its files without building the model."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import cast

from pydantic import JsonValue

from schemas.digests import file_sha256
from schemas.errors import ConfigError

HEADER_LIMIT_BYTES = 64 << 20
CONFIG, WEIGHTS = "config.json", "model.safetensors"


def describe_directory(path: Path) -> dict[str, JsonValue]:
    """Return kind, sizes and digests of a directory with config.json and model.safetensors.

    raises: ConfigError if one of the files is missing or cannot be read
    """
    missing = [name for name in (CONFIG, WEIGHTS) if not (path / name).is_file()]
    if missing:
        raise ConfigError(
            f"{path} has no {' and no '.join(missing)}; a model directory has both (no pickles are read)"
        )
    config = _read_object((path / CONFIG).read_bytes(), path / CONFIG)
    weights = path / WEIGHTS
    return {
        "path": str(path),
        "kind": config.get("model_type", "unknown"),
        "architectures": config.get("architectures", []),
        **_count_tensors(read_safetensors_header(weights)),
        "weights_digest": "sha256:" + file_sha256(weights),
        "files": [*sorted(item.name for item in path.iterdir() if item.is_file())],
        "config": config,
    }


def read_safetensors_header(path: Path) -> dict[str, JsonValue]:
    """Return dtype, shape and place of each tensor of a safetensors file: eight bytes of length, then JSON."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > HEADER_LIMIT_BYTES:
            raise ConfigError(f"{path}: a header of {length} bytes; expected at most {HEADER_LIMIT_BYTES}")
        header = _read_object(file.read(length), path)
    header.pop("__metadata__", None)
    return dict(header)


def _read_object(data: bytes, path: Path) -> dict[str, JsonValue]:
    try:
        value = json.loads(data)
    except ValueError as error:  # raised for bytes that are not UTF-8, too
        raise ConfigError(
            f"{path} cannot be read ({error}); it was cut short or is another file, so copy it again"
        ) from error
    if not isinstance(value, dict):
        raise ConfigError(
            f"{path} has a JSON {type(value).__name__}, expected an object; copy the file again"
        )
    return value


def _count_tensors(header: dict[str, JsonValue]) -> dict[str, JsonValue]:
    tensors = cast("dict[str, dict[str, JsonValue]]", header)
    parts: Counter[str] = Counter()
    for name, tensor in tensors.items():
        parts[".".join(name.split(".")[:2])] += math.prod(cast("list[int]", tensor["shape"]))
    return {
        "parameters": sum(parts.values()),
        "parts": dict(parts.most_common(12)),
        "dtypes": [*sorted({str(tensor["dtype"]) for tensor in tensors.values()})],
    }
