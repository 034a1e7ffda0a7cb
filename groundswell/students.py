"""Load a student: a GLIP model and its processor from a model directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from schemas.errors import RuntimeEnvironmentError
from teacher.models.glip import GlipForGrounding, GlipProcessor
from teacher.models.glip.checkpoint.directory import read_directory


@dataclass(frozen=True)
class Student:
    """A trained model in evaluation mode, with the processor that makes its inputs and reads its outputs."""

    model: GlipForGrounding
    processor: GlipProcessor


def load_student(path: str | Path, *, device: Literal["auto", "cpu", "cuda"] = "auto") -> Student:
    """Load a student's model directory (`OUT/model` of a training) for your own PyTorch code.

    To box the phrases of a caption with it, use `load_teacher` on the same directory.

    device: auto takes a GPU if there is one
    raises: NotFoundError for a missing file, ConfigError for a directory that is not a GLIP model,
            RuntimeEnvironmentError for cuda on a machine without a GPU
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeEnvironmentError("device is cuda, but torch sees no GPU; use auto or cpu")
    place = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    _, processor = read_directory(path)
    model = GlipForGrounding.from_pretrained(path, local_files_only=True)
    return Student(model.to(place).eval(), processor)
