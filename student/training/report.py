"""The report of a training. It has no time and no name of a machine, so the same run gives the same report."""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from engine.storage.local_files import replace_file
from schemas.digests import digest_of
from schemas.errors import ConflictError
from student.data.mixture import make_mixture
from student.data.streams import Stream, data_digest
from student.models.start import hash_start_files
from student.settings.running import RunningSettings
from student.settings.train import TrainSettings
from student.training.checkpoints import CHECKPOINTS, RECORD
from student.training.metrics_log import COUNT, PARAMETERS, ParameterCounts, read_metrics
from teacher.labelers.glip_settings import model_files
from teacher.models.weight_files import WEIGHTS
from teacher.nouns.concepts import concepts_digest

log = logging.getLogger(__name__)

REPORT, SETTINGS, MODEL = "report.json", "settings.json", "model"
# Two starts of one run may differ in these: locations, workers, frequency of logs and checkpoints.
_NOT_THE_RUN = {"start", "loader", *RunningSettings.model_fields} - {"device", "threads"}


def run_digest(settings: TrainSettings, streams: list[Stream]) -> str:
    """Return `sha256:<hex>` of what the trained model depends on: settings, files of the start, content of the data."""
    values = {name: value for name, value in settings.identity().items() if name not in _NOT_THE_RUN}
    values["streams"] = [
        stream.model_dump(mode="json", exclude={"url", "roots", "storage"}) for stream in settings.streams
    ]
    if not isinstance(settings.start, str):
        values["parts"] = settings.start.model_dump(mode="json", exclude={"swin", "bert"})
    related = [concepts_digest(stream.relations) for stream in streams if stream.relations is not None]
    parts = [values, hash_start_files(settings.start), data_digest(streams)]
    return digest_of([*parts, related] if related else parts)


def continue_stored_rule(
    settings: TrainSettings, streams: list[Stream]
) -> tuple[TrainSettings, list[Stream]]:
    """Return settings and streams under the rules of the run in `out`, for settings that the user's file omits.

    A checkpoint of an earlier version does not name them. It is recognized by its digest.
    """
    earlier, taken = settings.continue_from({})
    if not taken:
        return settings, streams
    own = [replace(stream, relations=None) for stream in streams]
    if _find_stored_digest(Path(settings.out)) != run_digest(earlier, own):
        return settings, streams
    for name, value in taken.items():
        log.warning(
            "%s: %s, as the run in %s has it, since the configuration omits it (a new run gets %s); set it to change "
            "it",
            name,
            value,
            settings.out,
            getattr(settings, name),
        )
    return earlier, own


def inherit_stored_settings(settings: TrainSettings, folder: Path) -> tuple[TrainSettings, dict[str, object]]:
    """Return the settings with omitted values taken from those of the run in `folder`, and the values taken."""
    try:
        record = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))["settings"]
    except (OSError, ValueError, KeyError, TypeError):
        return settings, {}
    return settings.continue_from(record) if isinstance(record, dict) else (settings, {})


def _find_stored_digest(out: Path) -> str | None:
    """Return the digest of the run in `out`, None if there is none or if its record cannot be read."""
    newest = max(out.glob(f"{CHECKPOINTS}/step-*/{RECORD}"), default=out / REPORT)
    return _read_digest(newest) or _read_digest(out / SETTINGS)


def load_finished_report(out: Path, digest: str) -> dict[str, Any] | None:
    """Return the report of a finished run, or None. Raise ConflictError if it is of another run."""
    path = out / REPORT
    if not path.exists():
        return None
    report = _read_report(path)
    if report["run_digest"] != digest:
        raise ConflictError(f"{out} has the run {report['run_digest']}, not {digest}: choose another `out`")
    # If the model is missing or damaged since then, the run continues from its last checkpoint.
    return report if model_files(out / MODEL) == report["model_files"] else None


def _read_report(path: Path) -> dict[str, Any]:
    """Return a report. Raise ConflictError if the file is not the report of a training."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        return {**report, "run_digest": str(report["run_digest"]), "model_files": dict(report["model_files"])}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConflictError(
            f"{path} is not the report of a training ({type(error).__name__}: {error}); remove it, and the run "
            "continues from its last checkpoint, or choose another `out`"
        ) from error


def make_report(
    settings: TrainSettings, streams: list[Stream], digest: str, trained_images: int
) -> dict[str, Any]:
    """Return the report of the model in `out/model`, without the overlap with evaluation sets."""
    out = Path(settings.out)
    files, start = model_files(out / MODEL), hash_start_files(settings.start)
    parameters: ParameterCounts = json.loads((out / PARAMETERS).read_text())
    shares = make_mixture(settings, streams).shares
    return {
        "run_digest": digest,
        "data_digest": data_digest(streams),
        "streams": [_stream_facts(stream, share) for stream, share in zip(streams, shares, strict=True)],
        "steps": settings.steps,
        "counts": _sum_counts(out),
        "images_seen": settings.steps * settings.batch_size,
        "parameters": parameters["total"],
        "tuning": {"mode": settings.tuning, "learned": parameters["learned"]},
        "parameter_groups": parameters["groups"],
        "trained_images": trained_images,
        "start_sha256": start.get(WEIGHTS) or digest_of(start),
        "model_sha256": files[WEIGHTS],
        "model_files": files,
    }


def write_settings(settings: TrainSettings, digest: str) -> None:
    """Write `out/settings.json` before the run: resolved settings, the run's digest, versions.

    raises: ConflictError if the model of another run is there, which may have come while this run waited for the lock
    """
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    if (out / MODEL).exists() and (other := _read_digest(out / SETTINGS)) not in (None, digest):
        raise ConflictError(f"{out} has a model of the run {other}, not {digest}: choose another `out`")
    versions = {name: version(name) for name in ("torch", "transformers", "numpy", "pillow")}
    values = {"run_digest": digest, "settings": settings.model_dump(mode="json"), "versions": versions}
    (out / SETTINGS).write_text(json.dumps(values, indent=1) + "\n")


def _read_digest(path: Path) -> str | None:
    """Return the digest of the run that a file is of; None if there is no file, or if it cannot be read."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["run_digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_report(out: Path, report: dict[str, Any]) -> None:
    """Write the report, completely or not at all."""
    replace_file(out / REPORT, (json.dumps(report, indent=1, sort_keys=True) + "\n").encode())


def _sum_counts(out: Path) -> dict[str, int]:
    """Return the counts over all steps: prompts by kind, and spans past the token limit."""
    total: Counter[str] = Counter()
    for record in read_metrics(out):
        total.update({name: value for name, value in record.items() if name.startswith(COUNT)})
    return {name.removeprefix(COUNT): number for name, number in sorted(total.items())}


def _stream_facts(stream: Stream, share: float) -> dict[str, Any]:
    """Return the facts of a stream for the report.

    share: share of the slots while no stream is at its limit
    """
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
        **({} if stream.labels is None else {"labels": dict(stream.labels)}),
    }
