"""The model that a training starts from, and the digests of the files that define it."""

from __future__ import annotations

from pathlib import Path

from schemas.errors import NotFoundError
from student.settings.train import PartsStart, TrainSettings
from teacher.labelers.glip_settings import model_files
from teacher.models.glip import GlipForGrounding, GlipProcessor
from teacher.models.glip.checkpoint.directory import read_directory
from teacher.models.weight_files import WEIGHTS, find_weight_files


def load_start(settings: TrainSettings) -> tuple[GlipForGrounding, GlipProcessor]:
    """Load the model, on the CPU and with the settings' random layers, and its processor."""
    if isinstance(settings.start, PartsStart):
        from student.models.start_from_parts import build_from_parts

        return build_from_parts(settings.start, random_layers(settings), settings.seed)
    config, processor = read_directory(settings.start)
    for name, rate in random_layers(settings).items():
        setattr(config, name, rate)
    return GlipForGrounding.from_pretrained(settings.start, config=config), processor


def random_layers(settings: TrainSettings) -> dict[str, float]:
    """Return the fields of GlipConfig that the settings override."""
    rates: dict[str, float | None] = {
        "drop_path_rate": settings.drop_path,
        "text_dropout": settings.dropout,
        "fusion_dropout": settings.dropout,
        "dropblock_rate": settings.dropblock,
    }
    return {name: rate for name, rate in rates.items() if rate is not None}


def hash_start_files(start: str | PartsStart) -> dict[str, str]:
    """Return the sha256 of each file that defines the start. Raise NotFoundError for a folder without weights."""
    folders = {"": start} if isinstance(start, str) else {"swin/": start.swin, "bert/": start.bert}
    digests: dict[str, str] = {}
    for prefix, folder in folders.items():
        own = model_files(Path(folder))
        # only the parts of a start are read without transformers, which puts shards together
        if not (WEIGHTS in own if prefix else find_weight_files(Path(folder))):
            raise NotFoundError(f"{folder} has no {WEIGHTS}: `start` must be a model directory")
        digests |= {prefix + name: digest for name, digest in own.items()}
    return digests
