"""The model card: the README.md of a trained model directory, in the form of the Hugging Face hub."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.errors import ConfigError, ConflictError
from schemas.spans import PROMPT_SEPARATOR
from student.data.overlap import OverlapCounts
from student.data.streams import Stream
from student.settings.train import TrainSettings
from teacher.models.hub import find_hub_name

_RECALLS = {"recall_at": "R", "recall_at_merged": "merged R"}  # of phrases, by the number of guesses


@dataclass(frozen=True)
class CardReports:
    """Reports for the card: of `audit report --json` on the run's views, and of `evaluate --json` on the model."""

    audits: Sequence[dict[str, Any]] = ()
    evaluations: Mapping[str, dict[str, Any]] = field(default_factory=dict)  # by a name for the card

    def check(self, streams: Sequence[Stream]) -> None:
        """Raise ConfigError for an invalid report, ConflictError for an audit of a view that the run does not use."""
        for audit in self.audits:
            if not _is_audit(audit):
                raise ConfigError(
                    f"{str(audit)[:80]} is not a report of `audit report --json`; give the file that it writes"
                )
        for name, evaluation in self.evaluations.items():
            if not _is_evaluation(evaluation):
                raise ConfigError(
                    f"{name}: {str(evaluation)[:80]} is not a report of `evaluate --json`; give the file that it writes"
                )
        known = {stream.view_digest for stream in streams}
        for audit in self.audits:
            if audit["view_digest"] not in known:
                raise ConflictError(
                    f"the audit is of the view {audit['view_digest']}, which is none of the run's {sorted(known)}; "
                    "give the report of an audit of one of these"
                )


def _is_audit(value: object) -> bool:
    """Return whether a JSON value has the parts of an audit that the card shows."""
    needed = {"view_digest", "precision", "confidence", "reviewed", "reviewer_kind"}
    if not isinstance(value, dict) or not needed <= value.keys() or not isinstance(value["precision"], dict):
        return False
    return _are_numbers([value["confidence"], *(value["precision"].get(n) for n in ("value", "low", "high"))])


def _is_evaluation(value: object) -> bool:
    """Return whether a JSON value has numbers with their intervals, and recalls by the number of guesses."""
    if not isinstance(value, dict) or not isinstance(intervals := value.get("ci"), dict):
        return False
    flat = [(name, ends) for name, ends in intervals.items() if name not in _RECALLS]
    for name in _RECALLS.keys() & intervals.keys():
        if not isinstance(intervals[name], dict) or not isinstance(value.get(name), dict):
            return False
        flat += intervals[name].items()
    return all(isinstance(ends, list) and len(ends) == 2 and _are_numbers(ends) for _, ends in flat)


def _are_numbers(values: Sequence[object]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values)


def write_card(
    folder: Path, settings: TrainSettings, report: Mapping[str, Any], card_reports: CardReports
) -> None:
    """Write `README.md`: data with digests, verdicts and licenses, settings, weights.

    It has no time and no name of a machine.
    """
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: zero-shot-object-detection",
        "license: unknown",
        *_base_model_lines(settings),
        "---",
        "# A GLIP model trained by Groundswell",
        "",
        f"{report['parameters']:,} parameters, {report['steps']:,} steps of {settings.batch_size} images.",
        *_tuning_lines(settings, report),
        "",
        *_usage_lines(settings),
        "",
        "## Data",
        "| kind | share of slots | images | boxes | content digest | view digest |",
        "|---|---|---|---|---|---|",
        *[_data_row(stream) for stream in report["streams"]],
        "",
        "A view's boxes come from a teacher and are not checked one by one; its audit says what they are worth.",
        *_label_lines(report),
        *_audit_lines(report, card_reports),
        "",
        "## Images shared with evaluation sets",
        *_overlap_lines(report["overlap"]),
        "",
        *_evaluation_lines(card_reports),
        "## Licences",
        "No licence is given to these weights here. The images they were learned from say:",
        *[_license_line(stream) for stream in report["streams"]],
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
        json.dumps(_portable_settings(settings), indent=1),
        "```",
        "",
    ]
    (folder / "README.md").write_text("\n".join(lines))


def _usage_lines(settings: TrainSettings) -> list[str]:
    """Return a snippet that boxes labels in a photograph, with the directory's own code or with Groundswell."""
    labels = ["a cat", "a remote control"]
    if settings.tuning_prompt is not None:
        labels = settings.tuning_prompt.split(PROMPT_SEPARATOR)
    return [
        "## Use",
        "With `transformers` and `pillow` alone (`trust_remote_code=True` runs the Python files of this directory, so "
        "read them first). After `import groundswell` the same lines work without it.",
        "```python",
        "import torch",
        "from PIL import Image",
        "from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor",
        "",
        'folder = "."  # this directory, or its id on the hub',
        "processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)",
        "model = AutoModelForZeroShotObjectDetection.from_pretrained(folder, trust_remote_code=True).eval()",
        'image = Image.open("photo.jpg")',
        f"labels = {json.dumps(labels, ensure_ascii=False)}",
        "inputs = processor(images=image, text=[labels])",
        "with torch.inference_mode():",
        "    outputs = model(**inputs)",
        "size = (image.height, image.width)",
        "found = processor.post_process_labels(outputs, inputs, [labels], [size], threshold=0.3)[0]",
        'for score, label, box in zip(found["scores"], found["text_labels"], found["boxes"]):',
        '    print(f"{label}: {score:.2f} {[round(side) for side in box.tolist()]}")',
        "```",
        "`AutoModel` gives the features alone.",
        "",
        *_pipeline_lines(settings),
    ]


def _pipeline_lines(settings: TrainSettings) -> list[str]:
    """Return a snippet for `transformers.pipeline`, or that it cannot be used because it asks each label alone."""
    if settings.tuning_prompt is not None:
        return [
            "`transformers.pipeline` asks each label alone. This model answers its one prompt alone, so it stops there "
            "with an error."
        ]
    return [
        "The pipeline of `transformers` works too, with `trust_remote_code=True` or after `import groundswell` without "
        "it. It asks each label alone, in a pass of its own, so scores differ from those above. Its boxes are pixels "
        "of the image, as above. Leave its `batch_size` at 1.",
        "```python",
        "from transformers import pipeline",
        "",
        'detector = pipeline("zero-shot-object-detection", model=".", trust_remote_code=True)',
        'print(detector("photo.jpg", candidate_labels=["a cat", "a remote control"], threshold=0.3))',
        "```",
    ]


def _base_model_lines(settings: TrainSettings) -> list[str]:
    """Return the hub ids of the start. Local places are not written into a card."""
    start = settings.start
    folders = [start] if isinstance(start, str) else [start.swin, start.bert]
    names = dict.fromkeys(name for folder in folders if (name := find_hub_name(Path(folder))) is not None)
    if len(names) > 1:
        return ["base_model:", *(f"- {name}" for name in names)]
    return [f"base_model: {name}" for name in names]


def _label_lines(report: Mapping[str, Any]) -> list[str]:
    """Return one line per view: whose boxes they are, and from which score on they were taken."""
    lines = []
    for stream in report["streams"]:
        if (labels := stream.get("labels")) is not None:
            kept = {name: value for name, value in labels["policy"].items() if name.endswith("score")}
            thresholds = ", ".join(f"{name} {value}" for name, value in sorted(kept.items()))
            lines.append(
                f"- `{stream['view_digest']}`: boxes of a teacher with the score `{labels['score_kind']}` (job "
                f"`{labels['job_digest']}`), under a policy with {thresholds}"
            )
    return ["", *lines] if lines else []


def _audit_lines(report: Mapping[str, Any], card_reports: CardReports) -> list[str]:
    """Return one line per view: the precision in its audit, or that there is no audit."""
    by_view = {audit["view_digest"]: audit for audit in card_reports.audits}
    views = [stream["view_digest"] for stream in report["streams"] if stream["kind"] == "view"]
    lines = []
    for digest in dict.fromkeys(views):
        if (audit := by_view.get(digest)) is None:
            lines.append(f"- `{digest}`: no audit was given")
            continue
        precision = audit["precision"]
        reviewer = "a person" if audit["reviewer_kind"] == "person" else "a program that knows the truth"
        lines.append(
            f"- `{digest}`: precision {precision['value']:.3f} ({audit['confidence']:.0%} interval "
            f"{precision['low']:.3f} to {precision['high']:.3f}), {audit['reviewed']} regions reviewed by {reviewer}"
        )
    return ["", *lines] if lines else []


def _overlap_lines(overlap: OverlapCounts) -> list[str]:
    if not overlap:
        return ["Not looked for: the run names no evaluation sets."]
    bits = overlap["overlap_bits"]
    alike = (
        "not looked for"
        if bits is None
        else f"{overlap['alike']} (perceptual hashes within {bits} of 64 bits)"
    )
    return [
        f"Of {overlap['training_images']:,} training images and {overlap['evaluation_images']:,} evaluation images, "
        f"with equal bytes: {overlap['equal']}; that look alike: {alike}."
    ]


def _evaluation_lines(card_reports: CardReports) -> list[str]:
    """Return a table of numbers with their intervals; empty without an evaluation."""
    if not card_reports.evaluations:
        return []
    lines = ["## Evaluation", "| on | number | value | interval |", "|---|---|---|---|"]
    for name, evaluation in card_reports.evaluations.items():
        for number, value, (low, high) in _evaluation_numbers(evaluation):
            lines.append(f"| {name} | {number} | {value:.3f} | {low:.3f} to {high:.3f} |")
    return [*lines, "", "Intervals are over images, of this one model.", ""]


def _evaluation_numbers(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, float, list[float]]]:
    """Yield (name, value, interval) of every defined number. A value of -1 means that nothing could be measured."""
    numbers = [
        (name, evaluation.get(name), ends)
        for name, ends in sorted(evaluation["ci"].items())
        if name not in _RECALLS
    ]
    for recall, title in _RECALLS.items():
        numbers += [
            (f"{title}@{k}", evaluation[recall].get(k), ends)
            for k, ends in evaluation["ci"].get(recall, {}).items()
        ]
    for name, value, ends in numbers:
        if isinstance(value, int | float) and _are_numbers([value]) and value >= 0 and ends[0] >= 0:
            yield name, value, ends


def _tuning_lines(settings: TrainSettings, report: Mapping[str, Any]) -> list[str]:
    """Return what was tuned; empty if the whole model was."""
    if settings.tuning == "full":
        return []
    lines = [
        "",
        f"Tuning {settings.tuning}: {report['tuning']['learned']:,} of them learned, the rest is the start's.",
    ]
    if settings.tuning_prompt is not None:
        lines.append(f"It answers one prompt alone: `{settings.tuning_prompt}`.")
    return lines


def _portable_settings(settings: TrainSettings) -> dict[str, Any]:
    """Return the settings without the locations on this machine. The digests in the card identify the content."""
    values = settings.model_dump(mode="json", exclude={"out", "start", "evaluation", "address"})
    for stream in values["streams"]:
        del stream["url"], stream["roots"], stream["storage"]
    return values


def _license_line(stream: Mapping[str, Any]) -> str:
    counts = (f"{count} {name or 'not stated'}" for name, count in stream["licenses"].items())
    return f"- {stream['kind']}: {'; '.join(counts)}"


def _data_row(stream: Mapping[str, Any]) -> str:
    boxes = stream["boxes"] - stream.get("ignored_boxes", 0)  # older reports do not count ignored boxes
    cells = (stream["kind"], f"{stream['share']:.2f}", stream["images"], boxes)
    return "| " + " | ".join(map(str, cells)) + f" | `{stream['digest']}` | `{stream['view_digest']}` |"
