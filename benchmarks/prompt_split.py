"""What splitting a caption over several prompts does to a fused teacher's scores.

    python -m benchmarks.prompt_split --labels .demo/evidence --model .demo/teacher/model --n 1000

Each caption's phrases are scored with the whole caption as prompt, and again with the caption cut at phrase borders
(a budget of `--tokens`), and with lists of its phrases under the whole budget. Of every phrase's best score: the
absolute difference (median, 95th percentile, largest), the share that changes sides of `--threshold`, and the share
whose best box moved (IoU below 0.5) among those at or above the threshold before. Only captions that the budget cuts
are counted.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from pipelines.labels.fates import LabelRow
from pipelines.labels.open_any import open_labels
from pipelines.labels.photo import read_photo
from pipelines.terminal.table import format_table
from schemas.boxes import as_boxes, iou
from schemas.records import Phrase, Pixels, Region, Sample
from teacher.labelers.glip_labeler import GlipLabeler
from teacher.labelers.glip_settings import GlipSettings

BATCH = 16
FLOOR = 0.001
"""Regions below this raw score are not looked at: a phrase without one scores 0."""


@dataclass(frozen=True)
class Best:
    """A phrase's best score and its box, None where the teacher saw nothing."""

    score: float
    box: tuple[float, float, float, float] | None


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one row per way of splitting, or one JSON object."""
    options = _options(arguments)
    whole = GlipLabeler(GlipSettings(model=options.model, prompt="caption"), BATCH, FLOOR)
    cut = GlipLabeler(
        GlipSettings(model=options.model, prompt="caption", text_tokens=options.tokens), BATCH, FLOOR
    )
    lists = GlipLabeler(GlipSettings(model=options.model, prompt="phrases"), BATCH, FLOOR)
    samples = list(islice(_cut_samples(options.labels, whole, cut), options.n))
    before = find_best(whole, samples)
    ways = {"cut at phrase borders": cut, "lists of phrases": lists}
    found = {name: compare(before, find_best(way, samples), options.threshold) for name, way in ways.items()}
    if options.json:
        print(json.dumps({"captions": len(samples), **found}))
        return
    names = ["phrases", "median", "p95", "largest", "changed sides", "moved"]
    print(
        format_table(
            [[name, *(row[key] for key in names)] for name, row in found.items()],
            [f"{len(samples)} captions", *names],
        )
    )


def find_best(labeler: GlipLabeler, samples: Sequence[tuple[Sample, np.ndarray]]) -> list[Best]:
    """Return the best of each phrase of each sample, in order. Samples of one bucket share a batch."""
    prepared = [labeler.prepare(*pair) for pair in samples]
    found: list[list[Region]] = [[] for _ in samples]
    for bucket in sorted({item.bucket for item in prepared}):
        numbers = [i for i, item in enumerate(prepared) if item.bucket == bucket]
        for start in range(0, len(numbers), BATCH):
            mates = numbers[start : start + BATCH]
            batch = [prepared[i] for i in mates] + [None] * (BATCH - len(mates))
            for i, regions in zip(mates, labeler.label(batch)):
                found[i] = regions
    return [
        _best(found[i], number)
        for i, (sample, _) in enumerate(samples)
        for number in range(len(sample.phrases))
    ]


def compare(before: Sequence[Best], after: Sequence[Best], threshold: float) -> dict[str, Any]:
    """Return the differences: scores in 0..1, shares of all phrases."""
    first, second = (np.array([best.score for best in side]) for side in (before, after))
    change = np.abs(first - second)
    kept = [(a, b) for a, b in zip(before, after) if a.score >= threshold and a.box is not None]
    moved = sum(
        b.box is None or float(iou(as_boxes([a.box]), as_boxes([b.box]))[0, 0]) < 0.5 for a, b in kept
    )
    return {
        "phrases": len(change),
        "median": round(float(np.median(change)), 4),
        "p95": round(float(np.quantile(change, 0.95)), 4),
        "largest": round(float(change.max()), 4),
        "changed sides": round(float(np.mean((first >= threshold) != (second >= threshold))), 4),
        "moved": round(moved / max(len(kept), 1), 4),
    }


def _best(regions: Sequence[Region], phrase: int) -> Best:
    own = [region for region in regions if region.phrase == phrase]
    if not own:
        return Best(0.0, None)
    top = max(own, key=lambda region: region.score)
    return Best(top.score, (top.x0, top.y0, top.x1, top.y1))


def _cut_samples(url: str, whole: GlipLabeler, cut: GlipLabeler) -> Iterator[tuple[Sample, np.ndarray]]:
    """Yield samples whose caption is one prompt for `whole`, several for `cut`, and loses no phrase to either."""
    for row in open_labels(url).rows():
        sample = _sample(row)
        if len(sample.phrases) < 2:
            continue
        pair = (sample, read_photo(row))
        one, many = whole.prepare(*pair), cut.prepare(*pair)
        if len(one.inputs.prompts) == 1 < len(many.inputs.prompts) and not (one.dropped or many.dropped):
            yield pair


def _sample(row: LabelRow) -> Sample:
    fields: Mapping[str, object] = row
    names = ("unit", "shard", "index", "key", "image_sha256", "caption", "width", "height")
    places = [
        {name: dict(phrase)[name] for name in ("begin", "end", "text", "root")} for phrase in row["phrases"]
    ]
    phrases = tuple(map(Phrase.model_validate, places))
    pixels = Pixels.model_validate(row["pixels"])
    return Sample.model_validate(
        {**{name: fields[name] for name in names}, "pixels": pixels, "phrases": phrases}
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--labels", required=True, help="an output of `label`, for its images, captions and phrases"
    )
    parser.add_argument("--model", required=True, help="a GLIP directory")
    parser.add_argument("--n", type=int, default=1000, help="captions that the budget cuts")
    parser.add_argument("--tokens", type=int, default=10, help="the budget that cuts")
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
