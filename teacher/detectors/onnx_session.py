"""ONNX models are opened here and nowhere else, so that two things hold for each of them.

Promise: nothing about a run leaves the machine, and a file that is no model is a configuration error with its name.
"""

from __future__ import annotations

import os
from pathlib import Path

# the library reports each use to its makers unless this is said before its import (its Privacy.md); it also leaves a
# device id in ~/.cache/Microsoft
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as native

from schemas.errors import ConfigError

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
    """A session on one CPU thread, so that equal inputs give equal bytes.

    The model is given as bytes: then weights in other files, which no digest of ours covers, are refused.
    raises: ConfigError for a file that is no model, or not all of one
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(
            Path(path).read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except _UNFIT as error:
        raise ConfigError(
            f"{path} is no ONNX model that can be run here: {error}; export it again, into one file"
        ) from error
