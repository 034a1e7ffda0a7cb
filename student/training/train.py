"""Train: from settings to a model directory, its report and its card, in this process or on Ray Train."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from schemas.errors import ConfigError
from schemas.progress import ProgressCallback
from schemas.spans import PROMPT_SEPARATOR
from student.data.overlap import check_overlap
from student.data.streams import Stream, load_streams
from student.data.trained_images import write_trained_images
from student.settings.train import TrainSettings
from student.training.distributed import TrainingGroup
from student.training.loop import RunSignals, TrainingLoop, never_stop
from student.training.model_card import CardReports, write_card
from student.training.report import (
    MODEL,
    continue_stored_rule,
    load_finished_report,
    make_report,
    run_digest,
    write_report,
)


def train(
    settings: TrainSettings,
    progress: ProgressCallback | None = None,
    stop: Callable[[], bool] | None = None,
    card_reports: CardReports | None = None,
) -> dict[str, Any]:
    """Train and return the report. `out/model` is the result, a Hugging Face directory.

    An interrupted run continues from its last checkpoint. A finished one returns its report again.

    stop:         called after every step; when it returns True, a checkpoint is written and KeyboardInterrupt raised
    card_reports: reports on data and model, for the model card
    raises:       ConflictError if `out` has another run or another process writes to it, or if the data has images of
                  `evaluation`; GroundswellError if the loss is not finite
    """
    torch.set_num_threads(settings.threads)
    settings, streams = continue_stored_rule(settings, load_streams(settings))
    digest = run_digest(settings, streams)
    out = Path(settings.out)
    card_reports = card_reports or CardReports()
    card_reports.check(streams)
    _check_prompt(settings.tuning_prompt, streams)
    report = load_finished_report(out, digest)
    overlap = check_overlap(settings)
    if report is None:
        if not _run(settings, streams, digest, progress or _ignore_progress, stop or never_stop):
            raise KeyboardInterrupt
        report = make_report(settings, streams, digest, write_trained_images(out / MODEL, settings))
    report["overlap"] = overlap
    write_card(out / MODEL, settings, report, card_reports)
    write_report(out, report)
    return report


def _check_prompt(prompt: str | None, streams: Sequence[Stream]) -> None:
    """Raise ConfigError if no image has a noun of the tuning prompt. Federated gold cannot be checked."""
    if prompt is None or not all(stream.root_counts for stream in streams):
        return
    if not any(noun in stream.root_counts for noun in prompt.split(PROMPT_SEPARATOR) for stream in streams):
        some = ", ".join(sorted(streams[0].root_counts)[:10])
        raise ConfigError(
            f"tuning_prompt {prompt!r}: no image has any of these nouns, so nothing can be learned; the nouns of the "
            f"data are {some}, ...; correct tuning_prompt"
        )


def _run(
    settings: TrainSettings,
    streams: list[Stream],
    digest: str,
    progress: ProgressCallback,
    stop: Callable[[], bool],
) -> bool:
    """Run the training. Return whether it came to its end."""
    if settings.workers == 1 and settings.address is None:
        return TrainingLoop(settings, streams, digest, TrainingGroup(), progress, RunSignals(stop)).run()
    from student.training.ray_training import train_on_ray

    return train_on_ray(settings, digest, progress, stop)


def _ignore_progress(label: str, done: int, total: int) -> None:
    pass
