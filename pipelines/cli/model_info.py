"""What a model directory or a detector file is, read from its files without building the model."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

from schemas.digests import sha256_hex
from schemas.errors import ConfigError, NotFoundError

HEADER_LIMIT_BYTES = 64 << 20


def describe_model(path: Path) -> dict[str, Any]:
    """Kind, sizes and digests of a Hugging Face directory with safetensors, or of an ONNX file.

    raises: NotFoundError, or ConfigError for a directory without `config.json` and `model.safetensors` or a file that
            is no model
    """
    if path.suffix == ".onnx" and path.is_file():
        return _describe_onnx(path)
    if not path.is_dir():
        raise NotFoundError(f"model {str(path)!r} does not exist; give a model directory or a .onnx file")
    missing = [name for name in ("config.json", "model.safetensors") if not (path / name).is_file()]
    if missing:
        raise ConfigError(
            f"{path} lacks {' and '.join(missing)}; a model directory holds both (no pickles are read)"
        )
    config = _json_object((path / "config.json").read_bytes(), path / "config.json")
    weights = path / "model.safetensors"
    return {
        "path": str(path),
        "kind": config.get("model_type", "unknown"),
        "architectures": config.get("architectures", []),
        **_count_tensors(read_safetensors_header(weights)),
        "weights_digest": "sha256:" + sha256_hex(weights.read_bytes()),
        "files": sorted(item.name for item in path.iterdir() if item.is_file()),
        "config": config,
    }


def read_safetensors_header(path: Path) -> dict[str, Any]:
    """Names, types and shapes of a safetensors file: eight bytes of length, then JSON."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > HEADER_LIMIT_BYTES:
            raise ConfigError(f"{path}: a header of {length} bytes; expected at most {HEADER_LIMIT_BYTES}")
        header = _json_object(file.read(length), path)
    header.pop("__metadata__", None)
    return dict(header)


def _json_object(data: bytes, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError as error:  # also what is no UTF-8
        raise ConfigError(f"{path} cannot be read ({error}); it was cut short or is another file") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path} holds a JSON {type(value).__name__}, expected an object")
    return value


def _count_tensors(header: dict[str, Any]) -> dict[str, Any]:
    parts: Counter[str] = Counter()
    for name, tensor in header.items():
        parts[".".join(name.split(".")[:2])] += math.prod(tensor["shape"])
    return {
        "parameters": sum(parts.values()),
        "parts": dict(parts.most_common(12)),
        "dtypes": sorted({tensor["dtype"] for tensor in header.values()}),
    }


def _describe_onnx(path: Path) -> dict[str, Any]:
    from teacher.detectors.onnx_session import open_onnx

    session = open_onnx(path)
    return {
        "path": str(path),
        "kind": "detector (ONNX)",
        "inputs": {item.name: item.shape for item in session.get_inputs()},
        "outputs": {item.name: item.shape for item in session.get_outputs()},
        "weights_digest": "sha256:" + sha256_hex(path.read_bytes()),
    }
