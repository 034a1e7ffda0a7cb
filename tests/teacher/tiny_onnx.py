"""ONNX models of YOLOX's shapes with a constant answer, written as protobuf: no package that exports them is needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

SIDE, ANCHORS = 32, 16 + 4 + 1
"""Side of the input, and number of anchors: strides 8, 16, 32."""


def varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def part(field: int, data: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(data)) + data


def describe_tensor(name: bytes, *shape: int) -> bytes:
    sizes = b"".join(part(1, number(1, size)) for size in shape)
    return part(1, name) + part(2, part(1, number(1, 1) + part(2, sizes)))


def write_yolox(path: Path, answer_AX: np.ndarray, metadata: Mapping[str, str] | None = None) -> Path:
    """Write a model that gives the same answer for every image.

    answer_AX: [ANCHORS, 5 + classes] float32: x, y, log width, log height (in strides, from the cell), objectness,
               class scores
    """
    answer = answer_AX[None].astype(np.float32)
    shape = b"".join(number(1, size) for size in answer.shape)
    tensor = shape + number(2, 1) + part(8, b"answer") + part(9, answer.tobytes())
    zero = number(2, 1) + part(8, b"zero") + part(9, np.zeros(1, np.float32).tobytes())
    axes = b"".join(number(8, axis) for axis in range(4))
    attributes = part(5, part(1, b"axes") + axes + number(20, 7)) + part(
        5, part(1, b"keepdims") + number(3, 0) + number(20, 2)
    )
    nodes = [
        part(1, b"x") + part(2, b"mean") + part(4, b"ReduceMean") + attributes,
        part(1, b"mean") + part(1, b"zero") + part(2, b"none") + part(4, b"Mul"),
        part(1, b"none") + part(1, b"answer") + part(2, b"y") + part(4, b"Add"),
    ]
    graph = b"".join(part(1, node) for node in nodes) + part(2, b"g") + part(5, tensor) + part(5, zero)
    graph += part(11, describe_tensor(b"x", 1, 3, SIDE, SIDE)) + part(
        12, describe_tensor(b"y", *answer.shape)
    )
    entries = b"".join(
        part(14, part(1, key.encode()) + part(2, text.encode())) for key, text in (metadata or {}).items()
    )
    path.write_bytes(number(1, 8) + part(7, graph) + part(8, number(2, 13)) + entries)
    return path
