"""A detector is one file: external weights are covered by no digest, and their path is untrusted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from schemas.errors import ConfigError
from teacher.detectors.onnx_session import open_onnx

WEIGHTS = np.arange(4, dtype=np.float32)


def number(field: int, value: int) -> bytes:
    return bytes([field << 3, value])


def part(field: int, data: bytes) -> bytes:
    return bytes([field << 3 | 2, len(data)]) + data


def adding(weights: bytes) -> bytes:
    """Return an ONNX model `y = x + w` in protobuf; `weights` ends the tensor `w`."""
    shape = part(2, part(1, number(1, 4)))
    value = part(2, part(1, number(1, 1) + shape))
    node = part(1, b"x") + part(1, b"w") + part(2, b"y") + part(4, b"Add")
    tensor = number(1, 4) + number(2, 1) + part(8, b"w") + weights
    graph = part(1, node) + part(2, b"g") + part(5, tensor)
    graph += part(11, part(1, b"x") + value) + part(12, part(1, b"y") + value)
    return (
        number(1, 8)
        + bytes([7 << 3 | 2, len(graph) % 128 + 128, len(graph) // 128])
        + graph
        + part(8, number(2, 13))
    )


def elsewhere(place: str) -> bytes:
    entries = [(b"location", place.encode()), (b"length", b"16")]
    return b"".join(part(13, part(1, key) + part(2, value)) for key, value in entries) + number(14, 1)


def test_a_model_of_one_file_is_run(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(adding(part(9, WEIGHTS.tobytes())))

    assert open_onnx(tmp_path / "m.onnx").run(None, {"x": np.ones(4, np.float32)})[0].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("place", ["w.bin", "../w.bin", "{}/w.bin", "link.bin"])
def test_a_model_with_weights_elsewhere_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for where in (tmp_path, folder):
        (where / "w.bin").write_bytes(WEIGHTS.tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    (folder / "m.onnx").write_bytes(adding(elsewhere(place.format(tmp_path)[:100])))
    monkeypatch.chdir(folder)

    with pytest.raises(ConfigError, match="is not an ONNX model that can be run here"):
        open_onnx(folder / "m.onnx")


def test_the_library_alone_would_read_weights_that_no_digest_covers(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    (tmp_path / "m.onnx").write_bytes(adding(elsewhere("w.bin")))

    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])

    assert session.run(None, {"x": np.zeros(4, np.float32)})[0].tolist() == WEIGHTS.tolist()
