"""Facts about a model directory in Hugging Face's layout, read from its files without building the model."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from pydantic import JsonValue

from schemas.digests import digest_of, file_sha256
from schemas.errors import ConfigError
from teacher.models.weight_files import (
    WEIGHTS,
    WEIGHTS_INDEX,
    find_weight_files,
    read_weight_map,
    suggest_model_folder,
)

HEADER_LIMIT_BYTES = 64 << 20
CONFIG = "config.json"


def describe_directory(path: Path) -> dict[str, JsonValue]:
    """Return kind, sizes and digests of a directory with config.json and weights in one file or in shards.

    raises: ConfigError if one of the files is missing or cannot be read
    """
    names = find_weight_files(path)
    missing = [CONFIG] if not (path / CONFIG).is_file() else []
    if missing or not names:
        missing += [] if names else [f"{WEIGHTS} or {WEIGHTS_INDEX}"]
        raise ConfigError(
            f"{path} has no {' and no '.join(missing)}; a model directory has a configuration and weights (no pickles "
            f"are read){suggest_model_folder(path)}"
        )
    config = _read_object((path / CONFIG).read_bytes(), path / CONFIG)
    digests = {name: "sha256:" + file_sha256(path / name) for name in names}
    return {
        "path": str(path),
        "kind": config.get("model_type", "unknown"),
        "architectures": config.get("architectures", []),
        **_count_tensors(_read_tensors(path, names)),
        **_describe_digests(digests),
        "files": [*sorted(item.name for item in path.iterdir() if item.is_file())],
        "config": config,
    }


def _describe_digests(digests: dict[str, str]) -> dict[str, JsonValue]:
    """Return the digest of the weights: the file's own, or for shards one over their names and digests."""
    if list(digests) == [WEIGHTS]:
        return {"weights_digest": digests[WEIGHTS]}
    return {"weights_digest": digest_of(digests), "shards": dict(digests)}


def _read_tensors(folder: Path, names: Sequence[str]) -> dict[str, JsonValue]:
    """Return dtype, shape and place of each tensor. A shard counts for the tensors that the index takes from it."""
    if list(names) == [WEIGHTS]:
        return read_safetensors_header(folder / WEIGHTS)
    headers = {name: read_safetensors_header(folder / name) for name in names}
    places = read_weight_map(folder)
    if lost := sorted(tensor for tensor, name in places.items() if tensor not in headers[name]):
        raise ConfigError(
            f"{folder / WEIGHTS_INDEX} names {len(lost)} tensors that their shards do not have (e.g. {lost[0]} in "
            f"{places[lost[0]]}); copy all files of the model again"
        )
    return {tensor: headers[name][tensor] for tensor, name in places.items()}


def read_safetensors_header(path: Path) -> dict[str, JsonValue]:
    """Return dtype, shape and place of each tensor of a safetensors file: eight bytes of length, then JSON."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > HEADER_LIMIT_BYTES:
            raise ConfigError(f"{path}: a header of {length} bytes; expected at most {HEADER_LIMIT_BYTES}")
        header = _read_object(file.read(length), path)
        size = path.stat().st_size - file.tell()
    header.pop("__metadata__", None)
    for name, tensor in header.items():
        _check_tensor(name, tensor, size, path)
    return dict(header)


def _check_tensor(name: str, tensor: JsonValue, size: int, path: Path) -> None:
    """Raise ConfigError for a tensor without dtype, shape and place, or with a place behind the end of the file."""
    fields = tensor if isinstance(tensor, dict) else {}
    shape, place = fields.get("shape"), fields.get("data_offsets")
    if not isinstance(fields.get("dtype"), str) or not _are_counts(shape) or not _are_counts(place):
        raise ConfigError(
            f"{path}: its header says {str(tensor)[:80]!r} of the tensor {name!r}, expected dtype, shape and "
            "data_offsets; copy the file again"
        )
    if cast("list[int]", place)[-1] > size:
        raise ConfigError(
            f"{path} ends before the tensor {name!r}: it has {size} bytes of values, expected at least "
            f"{cast('list[int]', place)[-1]}; it was cut short, so copy it again"
        )


def _are_counts(values: JsonValue) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _read_object(data: bytes, path: Path) -> dict[str, JsonValue]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:  # raised for bytes that are not UTF-8, too
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
