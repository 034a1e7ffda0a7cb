"""The report of a training: what was trained on what. No clock, no machine: the same run gives the same report."""

from __future__ import annotations

import json
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

from schemas.digests import digest_of
from schemas.errors import Conflict
from student.data.mixture import mixture_of
from student.data.streams import Stream, data_digest
from student.models.start import WEIGHTS, start_files
from student.settings.running import RunningSettings
from student.settings.train import TrainSettings
from student.training.metrics_log import COUNT, LEARNED, read_journal
from teacher.labelers.glip_digest import model_files

REPORT, SETTINGS = "report.json", "settings.json"
# What may differ between two starts of one run: where things lie, who does the work, how often it is written down.
_NOT_THE_RUN = {"start", "loader", *RunningSettings.model_fields} - {"device", "threads"}


def run_digest(settings: TrainSettings, streams: list[Stream]) -> str:
    """`sha256:<hex>` of what the trained model depends on: settings, the start's files, the data's content."""
    values = {
        name: value for name, value in settings.model_dump(mode="json").items() if name not in _NOT_THE_RUN
    }
    values["streams"] = [
        {name: value for name, value in stream.items() if name not in ("url", "roots", "storage")}
        for stream in values["streams"]
    ]
    if not isinstance(settings.start, str):
        values["parts"] = settings.start.model_dump(mode="json", exclude={"swin", "bert"})
    return digest_of([values, start_files(settings.start), data_digest(streams)])


def finished_report(out: Path, digest: str) -> dict[str, Any] | None:
    """The report of a run that is done, or None. Raises Conflict when another run is done there."""
    path = out / REPORT
    if not path.exists():
        return None
    report = _report_at(path)
    if report["run_digest"] != digest:
        raise Conflict(f"{out} holds the run {report['run_digest']}, not {digest}: choose another `out`")
    # The model itself may be gone or damaged since: then the run goes on from its last checkpoint.
    return dict(report) if model_files(out / "model") == report["model_files"] else None


def _report_at(path: Path) -> dict[str, Any]:
    """Raises Conflict for what is no report of a training."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        return {**report, "run_digest": str(report["run_digest"]), "model_files": dict(report["model_files"])}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Conflict(
            f"{path} is no report of a training ({type(error).__name__}: {error}); remove it, and the run goes on from "
            "its last checkpoint, or choose another `out`"
        ) from error


def make_report(
    settings: TrainSettings, streams: list[Stream], digest: str, trained_images: int
) -> dict[str, Any]:
    """What is said of the model in `out/model`, but for the overlap with evaluation sets."""
    out = Path(settings.out)
    files, start = model_files(out / "model"), start_files(settings.start)
    learned = json.loads((out / LEARNED).read_text())
    shares = mixture_of(settings, streams).shares
    return {
        "run_digest": digest,
        "data_digest": data_digest(streams),
        "streams": [_stream_facts(stream, share) for stream, share in zip(streams, shares, strict=True)],
        "steps": settings.steps,
        "counts": _counts(out),
        "images_seen": settings.steps * settings.batch_size,
        "parameters": learned["total"],
        "tuning": {"mode": settings.tuning, "learned": learned["learned"]},
        "parameter_groups": learned["groups"],
        "trained_images": trained_images,
        "start_sha256": start[WEIGHTS] if isinstance(settings.start, str) else digest_of(start),
        "model_sha256": files[WEIGHTS],
        "model_files": files,
    }


def write_settings(settings: TrainSettings, digest: str) -> None:
    """Write what is about to run to `out/settings.json`: resolved settings, the run's digest, versions.

    raises: Conflict where the model of another run stands, which may have come there while this one waited
    """
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    if (out / "model").exists() and (stands := _digest_at(out / SETTINGS)) not in (None, digest):
        raise Conflict(f"{out} holds a model of the run {stands}, not {digest}: choose another `out`")
    versions = {name: version(name) for name in ("torch", "transformers", "numpy", "pillow")}
    values = {"run_digest": digest, "settings": settings.model_dump(mode="json"), "versions": versions}
    (out / SETTINGS).write_text(json.dumps(values, indent=1) + "\n")


def _digest_at(path: Path) -> str | None:
    """The run whose settings stand in the file; None where there is none, or none that can be read."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["run_digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_report(out: Path, report: dict[str, Any]) -> None:
    """Put the report in place, at once."""
    partial = out / (REPORT + ".partial")
    partial.write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")
    partial.rename(out / REPORT)


def _counts(out: Path) -> dict[str, int]:
    """Over all steps: prompts by kind, and spans that lay past the token limit."""
    total: Counter[str] = Counter()
    for record in read_journal(out):
        total.update({name: value for name, value in record.items() if name.startswith(COUNT)})
    return {name.removeprefix(COUNT): number for name, number in sorted(total.items())}


def _stream_facts(stream: Stream, share: float) -> dict[str, Any]:
    """share: of the slots, until a stream has given all that it may"""
    return {
        "url": stream.settings.url,
        "digest": stream.digest,
        "view_digest": stream.view_digest,
        "kind": stream.kind,
        "share": share,
        "images": stream.images,
        "entries_per_epoch": len(stream.order),
        "boxes": stream.boxes,
        "ignored_boxes": stream.ignored_boxes,
        "licenses": dict(sorted(stream.licenses.items())),
    }
