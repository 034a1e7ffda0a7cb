"""The model card: what a trained model directory says of itself, in the form the Hugging Face hub reads."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.errors import ConfigError, Conflict
from student.data.streams import Stream
from student.settings.train import TrainSettings

_RECALLS = {"recall_at": "R", "recall_at_merged": "merged R"}  # of phrases, by the number of guesses


@dataclass(frozen=True)
class Told:
    """What others found: reports of `audit report --json` on the run's views, of `evaluate --json` on the model."""

    audits: Sequence[dict[str, Any]] = ()
    evaluations: Mapping[str, dict[str, Any]] = field(default_factory=dict)  # by a name for the card

    def check(self, streams: Sequence[Stream]) -> None:
        """Raises ConfigError for what is no such report, Conflict for an audit of a view that the run does not use."""
        for audit in self.audits:
            if not _is_audit(audit):
                raise ConfigError(f"{str(audit)[:80]} is no report of `audit report --json`; give that")
        for name, found in self.evaluations.items():
            if not _is_evaluation(found):
                raise ConfigError(f"{name}: {str(found)[:80]} is no report of `evaluate --json`; give that")
        known = {stream.view_digest for stream in streams}
        for audit in self.audits:
            if audit["view_digest"] not in known:
                raise Conflict(
                    f"the audit is of the view {audit['view_digest']}, which is none of the run's {sorted(known)}"
                )


def _is_audit(value: Any) -> bool:
    """Whether a JSON value has what the card tells of an audit."""
    wanted = {"view_digest", "precision", "confidence", "reviewed", "reviewer_kind"}
    if not isinstance(value, dict) or not wanted <= value.keys() or not isinstance(value["precision"], dict):
        return False
    return _are_numbers([value["confidence"], *(value["precision"].get(n) for n in ("value", "low", "high"))])


def _is_evaluation(value: Any) -> bool:
    """Whether a JSON value has numbers with their intervals, and those of phrases by how many guesses they have."""
    intervals = value.get("ci") if isinstance(value, dict) else None
    if not isinstance(intervals, dict):
        return False
    flat = [(name, ends) for name, ends in intervals.items() if name not in _RECALLS]
    for name in _RECALLS.keys() & intervals.keys():
        if not isinstance(intervals[name], dict) or not isinstance(value.get(name), dict):
            return False
        flat += intervals[name].items()
    return all(isinstance(ends, list) and len(ends) == 2 and _are_numbers(ends) for _, ends in flat)


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values)


def write_card(folder: Path, settings: TrainSettings, report: dict[str, Any], told: Told) -> None:
    """Write `README.md`: data with digests, verdicts and licences, settings, weights. No clock, no machine."""
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
        *_audit_lines(report, told),
        "",
        "## Images shared with evaluation sets",
        *_overlap_lines(report["overlap"]),
        "",
        *_evaluation_lines(told),
        "## Licences",
        "No licence is given to these weights here. The images they were learned from say:",
        *[_licence_line(stream) for stream in report["streams"]],
        "",
        "## Run",
        f"- run digest: `{report['run_digest']}` (settings, start weights, data)",
        f"- start weights: sha256 `{report['start_sha256']}`",
        f"- weights: sha256 `{report['model_sha256']}`",
        *[f"- {line}" for line in report["parameter_groups"]],
        f"- seed {settings.seed}, learning rate {settings.learning_rate:g}, weight decay {settings.weight_decay:g}",
        "",
        "## Settings",
        "```json",
        json.dumps(_portable(settings), indent=1),
        "```",
        "",
    ]
    (folder / "README.md").write_text("\n".join(lines))


def _audit_lines(report: dict[str, Any], told: Told) -> list[str]:
    """A line for each view: its audit's precision, or that there is none."""
    by_view = {audit["view_digest"]: audit for audit in told.audits}
    views = [stream["view_digest"] for stream in report["streams"] if stream["kind"] == "view"]
    lines = []
    for digest in dict.fromkeys(views):
        if (audit := by_view.get(digest)) is None:
            lines.append(f"- `{digest}`: no audit was given")
            continue
        found = audit["precision"]
        who = "a person" if audit["reviewer_kind"] == "person" else "a program that knows the truth"
        lines.append(
            f"- `{digest}`: precision {found['value']:.3f} ({audit['confidence']:.0%} interval {found['low']:.3f} to "
            f"{found['high']:.3f}), {audit['reviewed']} regions reviewed by {who}"
        )
    return ["", *lines] if lines else []


def _overlap_lines(overlap: dict[str, Any]) -> list[str]:
    if not overlap:
        return ["Not looked for: the run names no evaluation sets."]
    bits = overlap["overlap_bits"]
    looks = (
        "not looked for"
        if bits is None
        else f"{overlap['alike']} (perceptual hashes within {bits} of 64 bits)"
    )
    return [
        f"Of {overlap['training_images']:,} training images and {overlap['evaluation_images']:,} evaluation images, "
        f"with equal bytes: {overlap['equal']}; that look alike: {looks}."
    ]


def _evaluation_lines(told: Told) -> list[str]:
    """Numbers with their intervals, where an evaluation was given."""
    if not told.evaluations:
        return []
    lines = ["## Evaluation", "| on | number | value | interval |", "|---|---|---|---|"]
    for name, found in told.evaluations.items():
        for number, value, (low, high) in _measured(found):
            lines.append(f"| {name} | {number} | {value:.3f} | {low:.3f} to {high:.3f} |")
    return [*lines, "", "Intervals are over images, of this one model.", ""]


def _measured(found: Mapping[str, Any]) -> Iterator[tuple[str, float, list[float]]]:
    """(name, value, interval) of every number that there is one of; -1 says that nothing was there to measure."""
    numbers = [
        (name, found.get(name), ends) for name, ends in sorted(found["ci"].items()) if name not in _RECALLS
    ]
    for recall, title in _RECALLS.items():
        numbers += [
            (f"{title}@{k}", found[recall].get(k), ends) for k, ends in found["ci"].get(recall, {}).items()
        ]
    for name, value, ends in numbers:
        if _are_numbers([value]) and value >= 0 and ends[0] >= 0:
            yield name, value, ends


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
    values = settings.model_dump(mode="json", exclude={"out", "start", "evaluation", "address"})
    for stream in values["streams"]:
        del stream["url"], stream["roots"], stream["storage"]
    return values


def _licence_line(stream: dict[str, Any]) -> str:
    named = (f"{count} {name or 'not stated'}" for name, count in stream["licenses"].items())
    return f"- {stream['kind']}: {'; '.join(named)}"


def _data_row(stream: dict[str, Any]) -> str:
    boxes = stream["boxes"] - stream.get("ignored_boxes", 0)  # older reports do not count those to ignore
    cells = (stream["kind"], f"{stream['share']:.2f}", stream["images"], boxes)
    return "| " + " | ".join(map(str, cells)) + f" | `{stream['digest']}` | `{stream['view_digest']}` |"
