"""The model card: what a trained model directory says of itself, in the form the Hugging Face hub reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from student.settings import TrainSettings


def write_card(folder: Path, settings: TrainSettings, report: dict[str, Any]) -> None:
    """Write `README.md`: the data with digests and licences, the settings, the weights. No clock, no machine."""
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: zero-shot-object-detection",
        "license: unknown",
        "---",
        "# A GLIP model trained by Groundswell",
        "",
        f"{report['parameters']:,} parameters, {report['steps']:,} steps of {settings.batch_size} images.",
        *_tuning_lines(settings, report),
        "",
        "## Data",
        "| kind | share of slots | images | boxes | content digest | view digest |",
        "|---|---|---|---|---|---|",
        *[_data_row(stream) for stream in report["streams"]],
        "",
        "A view's boxes come from a teacher and are not checked one by one; its audit says what they are worth.",
        "",
        "## Licences",
        "No licence is given to these weights here. The images they were learned from say:",
        *[_licence_line(stream) for stream in report["streams"]],
        "",
        "## Run",
        f"- run digest: `{report['run_digest']}` (settings, start weights, data)",
        f"- start weights: sha256 `{report['start_sha256']}`",
        f"- weights: sha256 `{report['model_sha256']}`",
        f"- seed {settings.seed}, learning rate {settings.learning_rate:g}, weight decay {settings.weight_decay:g}",
        "",
        "## Settings",
        "```json",
        json.dumps(_portable(settings), indent=1),
        "```",
        "",
    ]
    (folder / "README.md").write_text("\n".join(lines))


def _tuning_lines(settings: TrainSettings, report: dict[str, Any]) -> list[str]:
    """What was tuned, where it was not the whole model."""
    if settings.tuning == "full":
        return []
    lines = [
        "",
        f"Tuning {settings.tuning}: {report['tuning']['learned']:,} of them learned, the rest is the start's.",
    ]
    if settings.tuning_prompt is not None:
        lines.append(f"It answers one prompt alone: `{settings.tuning_prompt}`.")
    return lines


def _portable(settings: TrainSettings) -> dict[str, Any]:
    """The settings without the places of this machine; the digests above say what lay there."""
    values = settings.model_dump(mode="json", exclude={"out", "start"})
    for stream in values["streams"]:
        del stream["url"], stream["roots"]
    return values


def _licence_line(stream: dict[str, Any]) -> str:
    named = (f"{count} {name or 'not stated'}" for name, count in stream["licenses"].items())
    return f"- {stream['kind']}: {'; '.join(named)}"


def _data_row(stream: dict[str, Any]) -> str:
    cells = (stream["kind"], f"{stream['share']:.2f}", stream["images"], stream["boxes"])
    return "| " + " | ".join(map(str, cells)) + f" | `{stream['digest']}` | `{stream['view_digest']}` |"
