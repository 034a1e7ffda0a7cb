"""One door for every evaluation: a model directory, a detector or a results file against human gold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import ConfigError
from schemas.progress import ProgressCallback
from student.evaluate.class_prompts import Asking
from student.evaluate.coco import coco_numbers
from student.evaluate.gold.images import EvaluationImage, evaluation_images
from student.evaluate.gold.load import (
    category_groups,
    gold_phrases,
    of_images,
    phrase_categories,
    read_gold,
)
from student.evaluate.phrases import AskedPhrase, phrase_recall, recall_by_group
from student.evaluate.predictors import (
    DetectorPredictor,
    PromptPredictor,
    Result,
    box_of,
    suppressed,
)
from student.evaluate.protocols import PROTOCOLS, ProtocolName, boxes_all, check_gold
from student.evaluate.report import Evaluation
from student.evaluate.results import join_results, read_results
from teacher.registry import QueryKind, recognize_model


def evaluate(
    model_or_results: str | Path,
    gold: str | Path,
    images: str | Path | None = None,
    *,
    key_map: str | Path | None = None,
    groups: Mapping[str, Sequence[int]] | None = None,
    group_by: str = "frequency",
    phrases: bool = True,
    merged: bool = False,
    bootstrap: int = 200,
    seed: int = 0,
    batch_size: int = 16,
    results_to: str | Path | None = None,
    asking: Asking | None = None,
    names: str | Path | None = None,
    protocol: ProtocolName = "coco",
    progress: ProgressCallback | None = None,
) -> Evaluation:
    """The numbers of docs/interfaces.md, with intervals over images.

    model_or_results: a GLIP directory, a YOLOX .onnx, or a COCO results .json (then `images` is not needed)
    gold:             COCO JSON, or a folder of imported gold, whose images need no `images`; with captions and
                      tokens_positive a GLIP directory also gets phrase recall
    images:           a folder or shards; gold images without pixels are left out and counted in `images`
    groups, group_by: category ids by name, or the category field that names the group (LVIS: frequency)
    protocol:         coco, lvis (federated, 300 boxes an image) or fixed_ap (10,000 a category, no limit an image)
    merged:           also recall by the merged-box protocol
    asking:           how a GLIP directory is asked for the categories: words, chunks, how many boxes
    names:            a file with the names of a detector's classes; without it its metadata, a file beside it, COCO's
    results_to:       a file for the detections, as COCO results: what `paired_differences` compares
    """
    model, truth = Path(model_or_results), read_gold(Path(gold))
    check_gold(truth, PROTOCOLS[protocol])
    teacher = None if model.suffix == ".json" else recognize_model(model, also="COCO results .json")[1]
    takes_prompts = teacher is not None and teacher.query_kind is QueryKind.PHRASES
    if asking not in (None, Asking()) and not takes_prompts:
        raise ConfigError(
            f"{model} takes no prompts: words, chunks, boxes and padding are for a GLIP directory"
        )
    if names is not None and (teacher is None or takes_prompts):
        raise ConfigError(
            f"{model} takes no --names: they are for the classes of a detector (.onnx); leave them out"
        )
    named = dict(groups) if groups is not None else category_groups(truth, group_by)
    if groups is None and group_by != "frequency" and not named:
        raise ConfigError(
            f"--group-by {group_by}: no category of {gold} has such a field; leave it out, or name another"
        )
    if teacher is None:
        joined = join_results(read_results(model), truth, model, Path(gold))
        results, seen = joined.rows, truth
        recall: dict[str, Any] = {}
        facts: dict[str, Any] = {
            **({"unmatched": joined.unmatched} if joined.unmatched else {}),
            **({"notes": joined.notes} if joined.notes else {}),
        }
    else:
        if images is None and not any(image.get("pixels") for image in truth["images"]):
            raise ConfigError(f"{model} is a model: --images says where the gold's images are")
        place = None if images is None else str(images)
        source = _Images(place, truth, Path(key_map) if key_map else None, progress)
        results, recall, facts = _ask(
            model,
            truth,
            source,
            named,
            phrases,
            merged,
            bootstrap,
            seed,
            batch_size,
            asking,
            protocol,
            None if names is None else Path(names),
        )
        seen = of_images(truth, source.met)
    if not seen["images"]:
        raise ConfigError(
            f"{images} holds none of the {len(truth['images'])} images of {gold}; check --key-map"
        )
    if results_to is not None:
        Path(results_to).write_text(json.dumps(results), encoding="utf-8")
    numbers = coco_numbers(
        seen, results, protocol=protocol, groups=named or None, bootstrap=bootstrap, seed=seed
    )
    if results and numbers["AP50"] == 0:
        note = _nothing_meets(len(results), model)
        facts["notes"] = [*facts.get("notes", ()), note]
    met = {image["id"] for image in seen["images"]}
    left_out = [image["id"] for image in truth["images"] if image["id"] not in met]
    facts |= {"left_out": left_out} if left_out else {}
    images_told = {"gold": len(truth["images"]), "evaluated": len(seen["images"])}
    facts |= {} if boxes_all(truth, PROTOCOLS[protocol]) else {"exhaustive": False}
    told = {"protocol": protocol, "images": images_told, "detections": len(results), **facts}
    return _report(numbers, recall, told)


def _nothing_meets(detections: int, model: Path) -> str:
    return (
        f"none of the {detections} detections of {model} meets a box of its category by half (IoU 0.5), so AP is 0: "
        "check that they are of these images, boxes are x, y, width, height in pixels, and categories are the gold's"
    )


class _Images:
    """The gold images that have pixels, read anew in each pass; `met` holds the ids of all that were met."""

    def __init__(
        self,
        source: str | None,
        gold: dict[str, Any],
        key_map: Path | None,
        progress: ProgressCallback | None,
    ) -> None:
        self._source, self._gold, self._key_map, self._progress = source, gold, key_map, progress
        self.met: set[Any] = set()

    def read(self, label: str) -> Iterator[EvaluationImage]:
        records = self._gold["images"]
        for number, image in enumerate(evaluation_images(self._source, records, self._key_map), 1):
            self.met.add(image.record["id"])
            if self._progress is not None:
                self._progress(label, number, len(records))
            yield image


def _ask(
    model: Path,
    gold: dict[str, Any],
    source: _Images,
    groups: Mapping[str, Sequence[int]],
    phrases: bool,
    merged: bool,
    bootstrap: int,
    seed: int,
    batch_size: int,
    asking: Asking | None,
    protocol: ProtocolName,
    names: Path | None,
) -> tuple[list[Result], dict[str, Any], dict[str, Any]]:
    """Detections, recalls, and facts of the asking: how many phrases were measured, which could not be asked."""
    if recognize_model(model)[1].query_kind is QueryKind.CLASSES:
        detector = DetectorPredictor(model, gold["categories"], names)
        found = [row for image in source.read("detecting") for row in detector.results(image)]
        return found, {}, {"classes": detector.named.facts, "notes": detector.named.notes}
    predictor = PromptPredictor(model, batch_size, asking, PROTOCOLS[protocol].asked_per_image)
    results = list(predictor.results(source.read("detecting"), gold["categories"]))
    asked = list(_grounded(predictor, gold, source)) if phrases and predictor.takes_phrases else []
    facts: dict[str, Any] = {"unasked": dict(sorted(predictor.unasked.items()))}
    if not asked:
        return results, {}, facts
    facts["phrases"] = len(asked)
    recall = {"recall_at": phrase_recall(asked, bootstrap=bootstrap, seed=seed)}
    facts["recall_by_group"] = recall_by_group(asked, groups)
    if merged:
        recall["recall_at_merged"] = phrase_recall(asked, merged=True, bootstrap=bootstrap, seed=seed)
    return results, recall, facts


def _grounded(predictor: PromptPredictor, gold: dict[str, Any], source: _Images) -> Iterator[AskedPhrase]:
    """Every phrase with its boxes after suppression, as detections have them: the k best are k different boxes."""
    phrases, boxes = gold_phrases(gold)
    if not phrases:
        return
    captions = {image["id"]: image.get("caption", "") for image in gold["images"]}
    categories = phrase_categories(gold)
    for image, regions in predictor.grounded(source.read("grounding"), captions, phrases):
        name = image.record["id"]
        scale = np.array([*image.scale, *image.scale])
        for number, gold_boxes in enumerate(boxes[name]):
            own = suppressed(regions, number)
            found = np.array([box_of(region) for region in own]).reshape(-1, 4) * scale
            scores = np.array([region.score for region in own])
            yield AskedPhrase(name, gold_boxes, found, scores, categories[name][number])


def _report(numbers: dict[str, Any], recall: dict[str, Any], facts: dict[str, Any]) -> Evaluation:
    for group, values in facts.pop("recall_by_group", {}).items():
        numbers["groups"][group]["recall_at"] = values
    intervals = numbers.setdefault("ci", {})
    for name, values in recall.items():
        intervals[name] = values.pop("ci", {})
    return Evaluation({**numbers, **recall, **facts})
