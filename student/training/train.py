"""Training: from settings to a model directory, its report and its card; in this process or on Ray Train."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from schemas.errors import ConfigError
from student.data.overlap import check_overlap
from student.data.streams import Stream, load_streams
from student.data.trained_images import write_trained
from student.settings.prompt_text import SEPARATOR
from student.settings.train import TrainSettings
from student.training.distributed import Place
from student.training.loop import MODEL, Asked, Progress, TrainingLoop
from student.training.model_card import Told, write_card
from student.training.report import finished_report, make_report, run_digest, write_report

__all__ = ["Progress", "run_digest", "train"]


def train(
    settings: TrainSettings,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
    told: Told | None = None,
) -> dict[str, Any]:
    """Train and return the report; `out/model` is the result, a Hugging Face directory.

    A run that was cut short continues from its last checkpoint; one that is done gives its report again.
    stop:   looked at after every step; once true, a checkpoint is written and KeyboardInterrupt raised
    told:   what others found of data and model, for the model card
    raises: Conflict when `out` holds another run or is being written, or the data holds images of `evaluation`;
            GroundswellError when the loss is no number
    """
    torch.set_num_threads(settings.threads)
    streams = load_streams(settings)
    digest = run_digest(settings, streams)
    out = Path(settings.out)
    told = told or Told()
    told.check(streams)
    _check_prompt(settings.tuning_prompt, streams)
    report = finished_report(out, digest)
    overlap = check_overlap(settings)
    if report is None:
        if not _run(settings, streams, digest, progress or _unheard, stop or _never):
            raise KeyboardInterrupt
        report = make_report(settings, streams, digest, write_trained(out / MODEL, settings))
    report["overlap"] = overlap
    write_card(out / MODEL, settings, report, told)
    write_report(out, report)
    return report


def _check_prompt(prompt: str | None, streams: Sequence[Stream]) -> None:
    """Raise ConfigError for a prompt to be tuned of which no image has a noun. (Federated gold does not tell.)"""
    if prompt is None or not all(stream.root_counts for stream in streams):
        return
    if not any(noun in stream.root_counts for noun in prompt.split(SEPARATOR) for stream in streams):
        some = ", ".join(sorted(streams[0].root_counts)[:10])
        raise ConfigError(
            f"tuning_prompt {prompt!r}: no image has any of these nouns, so nothing can be learned; the data's own are "
            f"{some}, ..."
        )


def _run(
    settings: TrainSettings,
    streams: list[Stream],
    digest: str,
    progress: Progress,
    stop: Callable[[], bool],
) -> bool:
    """Whether the run came to its end."""
    if settings.workers == 1 and settings.address is None:
        return TrainingLoop(settings, streams, digest, Place(), progress, Asked(stop)).run()
    from student.training.ray_training import train_on_ray

    return train_on_ray(settings, digest, progress, stop)


def _unheard(label: str, done: int, total: int) -> None:
    pass


def _never() -> bool:
    return False
