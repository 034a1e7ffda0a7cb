"""Open ONNX models. No other file does, so two rules apply to every model.

No data about a run leaves the machine. A file that is not a model is a configuration error with its name.
"""

from __future__ import annotations

import os
from pathlib import Path

# Unless this is set before its import, the library reports each use to its makers (its Privacy.md) and writes a device
# id to ~/.cache/Microsoft.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as native

from schemas.errors import ConfigError
from teacher.models.foreign_files import describe_foreign_file

_UNFIT = (
    native.Fail,
    native.InvalidArgument,
    native.InvalidGraph,
    native.InvalidProtobuf,
    native.NoModel,
    native.NotImplemented,
    native.RuntimeException,
)


def open_onnx(path: str | Path) -> onnxruntime.InferenceSession:
    """Open a session on one CPU thread, so equal inputs give equal bytes.

    The model is passed as bytes, so weights in other files, which no digest of ours covers, are refused.
    raises: ConfigError for a file that is not a whole model
    """
    if (foreign := describe_foreign_file(Path(path))) is not None:
        raise ConfigError(f"{path} is not an ONNX model: it {foreign}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(
            Path(path).read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except _UNFIT as error:
        raise ConfigError(
            f"{path} is not an ONNX model that can be run here: {error}; export it again, into one file"
        ) from error
