"""The model a training starts from, and the digests of the files that decide it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from schemas.errors import NotFoundError
from student.settings.train import PartsStart, TrainSettings
from teacher.labelers.glip_settings import model_files
from teacher.models.glip import GlipForGrounding, GlipProcessor
from teacher.models.glip.checkpoint.directory import read_directory

WEIGHTS = "model.safetensors"


def load_start(settings: TrainSettings) -> tuple[GlipForGrounding, GlipProcessor]:
    """The model, on the CPU, with the settings' random layers; and its processor."""
    if isinstance(settings.start, PartsStart):
        from student.models.start_from_parts import model_of_parts

        return model_of_parts(settings.start, random_layers(settings), settings.seed)
    config, processor = read_directory(settings.start)
    for name, rate in random_layers(settings).items():
        setattr(config, name, rate)
    return GlipForGrounding.from_pretrained(settings.start, config=config), processor


def random_layers(settings: TrainSettings) -> dict[str, float]:
    """Fields of GlipConfig that the settings give another value."""
    given: dict[str, float | None] = {
        "drop_path_rate": settings.drop_path,
        "text_dropout": settings.dropout,
        "fusion_dropout": settings.dropout,
        "dropblock_rate": settings.dropblock,
    }
    return {name: rate for name, rate in given.items() if rate is not None}


def start_files(start: str | PartsStart) -> dict[str, Any]:
    """sha256 of each file that the start is made of. Raises NotFoundError for a folder without weights."""
    folders = {"": start} if isinstance(start, str) else {"swin/": start.swin, "bert/": start.bert}
    files = {}
    for prefix, folder in folders.items():
        found = model_files(Path(folder))
        if WEIGHTS not in found:
            raise NotFoundError(f"{folder} holds no {WEIGHTS}: `start` must be a model directory")
        files |= {prefix + name: digest for name, digest in found.items()}
    return files
