"""Evaluate a model directory, a detector or a results file on human gold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import ConfigError
from schemas.labeler import NeededSize
from schemas.progress import ProgressCallback
from student.evaluate.class_prompts import PromptOptions
from student.evaluate.coco import coco_numbers
from student.evaluate.gold.images import EvaluationImage, evaluation_images
from student.evaluate.gold.load import (
    category_groups,
    gold_phrases,
    phrase_categories,
    read_gold,
    select_images,
)
from student.evaluate.notes import (
    describe_refusals,
    note_by_name,
    note_cut,
    note_left_out,
    note_no_match,
    note_unread,
)
from student.evaluate.phrases import GroundedPhrase, phrase_recall, recall_by_group
from student.evaluate.predictors import (
    BatchSize,
    DetectorPredictor,
    PromptPredictor,
    box_of,
    suppress_overlaps,
)
from student.evaluate.protocols import (
    ProtocolName,
    boxes_all,
    check_federated_gold,
    choose_rules,
    count_crowded_images,
    count_cut,
)
from student.evaluate.report import Evaluation
from student.evaluate.results import join_results, read_results
from student.gold.boxes import BoxConvention
from student.gold.coco.types import CocoDetection, CocoId, GoldDataset
from student.gold.codes import MAX_REFUSED, REFUSED
from teacher.factories import locate_teacher
from teacher.models.hub import locate_model
from teacher.registry import TEACHERS, QueryKind, Teacher, TeacherSettings, recognize_model

Groups = Mapping[str, Sequence[CocoId]]


@dataclass(frozen=True)
class _Answers:
    """Detections, phrase recalls, and facts for the report: what was measured, and what could not be asked."""

    results: Sequence[CocoDetection]
    recalls: dict[str, dict[str, Any]] = field(default_factory=dict)
    recalls_by_group: dict[str, dict[str, float]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def add_note(self, note: str) -> None:
        """Add a fact that a reader of the numbers must know."""
        self.facts["notes"] = [*self.facts.get("notes", ()), note]


@dataclass(frozen=True)
class _Questions:
    """Options of what a model is asked."""

    groups: Groups
    phrases: bool
    merged: bool
    bootstrap: int
    seed: int
    batch_size: BatchSize
    prompt_options: PromptOptions | None
    asked_per_image: int
    names: Path | None


def evaluate(
    model_or_results: str | Path | TeacherSettings,
    gold: str | Path,
    images: str | Path | None = None,
    *,
    key_map: str | Path | None = None,
    groups: Groups | None = None,
    group_by: str = "frequency",
    phrases: bool = True,
    merged: bool = False,
    bootstrap: int = 200,
    seed: int = 0,
    batch_size: BatchSize = 16,
    results_to: str | Path | None = None,
    prompt_options: PromptOptions | None = None,
    names: str | Path | None = None,
    protocol: ProtocolName = "coco",
    convention: BoxConvention | None = None,
    max_refused: float = MAX_REFUSED,
    progress: ProgressCallback | None = None,
) -> Evaluation:
    """Return the numbers of docs/interfaces.md, with intervals over images.

    model_or_results: a model of any teacher (a directory, a YOLOX .onnx), or a COCO results .json (which needs no
                      `images`); or a teacher of any kind, by its settings
    gold:             COCO JSON, or a folder of imported gold, whose images need no `images`; with captions and
                      tokens_positive a teacher of phrases also gets phrase recall
    images:           a folder or shards; gold images without pixels are left out and counted in `images`. With results
                      the images are only looked for and their shapes checked
    groups, group_by: category ids by name, or the category field that names the group (LVIS: frequency)
    protocol:         coco, lvis (federated, 300 boxes per image) or fixed_ap (10,000 per category, no limit per image)
    merged:           also recall by the merged-box protocol
    batch_size:       rows of each batch; auto: as many as suit teacher and device, one on a CPU
    prompt_options:   how a teacher of phrases is asked for the categories: words, chunks, number of boxes. The number
                      also says how many count, for any model and for results
    names:            a file with the names of a detector's classes; without it its own, a file next to it, COCO's
    results_to:       a file for the detections, as COCO results: the input of `compare_results`
    convention:       of the boxes in a COCO file, if it is another than xywh pixels
    max_refused:      share of the boxes, and of the images, of a COCO file that may be refused (`too_many_refused`)
    """
    max_detections = _count_of_detections(prompt_options)
    truth, rules = read_gold(Path(gold), convention), choose_rules(protocol, max_detections)
    check_federated_gold(truth, rules)
    model, teacher = _find_model(model_or_results)
    _check_options(model, teacher, prompt_options, names)
    if merged and (teacher is None or teacher.query_kind is QueryKind.CLASSES or not gold_phrases(truth)[0]):
        raise ConfigError(
            f"--merged: it is for phrase recall, which needs a teacher of phrases and gold with captions and "
            f"tokens_positive; leave it out for {model} on {gold}"
        )
    named = dict(groups) if groups is not None else category_groups(truth, group_by)
    if groups is None and group_by != "frequency" and not named:
        raise ConfigError(
            f"--group-by {group_by}: no category of {gold} has such a field; leave it out, or choose another field"
        )
    source = _GoldImages(
        None if images is None else str(images), truth, Path(key_map) if key_map else None, progress
    )
    if teacher is None:
        answers = _read_answers(model, truth, Path(gold))
        if images is not None:
            answers = _keep_seen(answers, source)
    elif images is None and not any(image.get("pixels") for image in truth["images"]):
        raise ConfigError(f"--images is required to evaluate the model {model}; give a folder or shards")
    else:
        questions = _Questions(
            named,
            phrases,
            merged,
            bootstrap,
            seed,
            batch_size,
            prompt_options,
            rules.asked_per_image,
            None if names is None else Path(names),
        )
        asked = model_or_results if isinstance(model_or_results, TeacherSettings) else model
        answers = _ask(asked, teacher, truth, source, questions)
    evaluated = truth if teacher is None and images is None else select_images(truth, source.ids)
    if source.by_name:
        answers.add_note(note_by_name(len(source.by_name), images))
    per_chunk = prompt_options is not None and prompt_options.per_chunk
    is_limited = teacher is not None and teacher.query_kind is QueryKind.PHRASES and not per_chunk
    if is_limited and (crowded := count_crowded_images(evaluated, rules.asked_per_image)):
        answers.add_note(
            f"{crowded} images have more than {rules.asked_per_image} gold boxes, and no more detections of an image "
            "are asked for; --max-detections sets that number"
        )
    if not evaluated["images"]:
        raise ConfigError(
            f"{images} has none of the {len(truth['images'])} images of {gold}, e.g. "
            f"{truth['images'][0].get('file_name')!r}; {REFUSED['image_missing']}"
        )
    if results_to is not None:
        Path(results_to).write_text(json.dumps(answers.results), encoding="utf-8")
    numbers = coco_numbers(
        evaluated,
        answers.results,
        protocol=protocol,
        groups=named or None,
        bootstrap=bootstrap,
        seed=seed,
        max_detections=max_detections,
    )
    facts = dict(answers.facts)
    facts |= {} if max_detections is None else {"max_detections": max_detections}
    if cut := count_cut(answers.results, rules):
        facts["notes"] = [*facts.get("notes", ()), note_cut(cut, len(answers.results), rules)]
    if answers.results and numbers["AP50"] == 0:
        facts["notes"] = [*facts.get("notes", ()), note_no_match(len(answers.results), model)]
    facts |= describe_refusals(truth.get("account"), max_refused, facts.get("notes", ()))
    evaluated_ids = {image["id"] for image in evaluated["images"]}
    left_out = [image["id"] for image in truth["images"] if image["id"] not in evaluated_ids]
    if left_out:
        facts |= {
            "left_out": left_out,
            "notes": [*facts.get("notes", ()), note_left_out(left_out, truth, images)],
        }
    facts |= {} if boxes_all(truth, rules) else {"exhaustive": False}
    counts = {"gold": len(truth["images"]), "evaluated": len(evaluated["images"])}
    facts = {"protocol": protocol, "images": counts, "detections": len(answers.results), **facts}
    return _make_report(numbers, answers, facts)


def _count_of_detections(options: PromptOptions | None) -> int | None:
    """Return how many detections count if the caller says so. A number for each chunk says what is asked for alone."""
    return None if options is None or options.per_chunk else options.max_detections


def _find_model(model: str | Path | TeacherSettings) -> tuple[Path, Teacher[TeacherSettings] | None]:
    """Return the local path of a model or results file, and the entry of its teacher, None for results."""
    if isinstance(model, TeacherSettings):
        return locate_teacher(model), TEACHERS.load(model.kind)
    path = Path(locate_model(str(model)))
    return path, None if path.suffix == ".json" else recognize_model(path, also="COCO results .json")[1]


def _check_options(
    model: Path,
    teacher: Teacher[TeacherSettings] | None,
    prompt_options: PromptOptions | None,
    names: str | Path | None,
) -> None:
    """Raise ConfigError for an option that does not apply to the model, or to a results file (teacher None)."""
    takes_prompts = teacher is not None and teacher.query_kind is QueryKind.PHRASES
    asked = replace(prompt_options or PromptOptions(), max_detections=None)
    if asked != PromptOptions() and not takes_prompts:
        raise ConfigError(
            f"{model} takes no prompts: --words, --chunk, --per-chunk and --pad are for a teacher of phrases; leave "
            "them out"
        )
    if names is not None and (teacher is None or takes_prompts):
        raise ConfigError(f"{model} takes no --names: they are for the classes of a detector; leave them out")


class _GoldImages:
    """The gold images that have pixels, read anew in each pass.

    ids:     of all images read so far
    by_name: of those whose path or URL was not found, but an image with its last part
    """

    def __init__(
        self, source: str | None, gold: GoldDataset, key_map: Path | None, progress: ProgressCallback | None
    ) -> None:
        self._source, self._gold, self._key_map, self._progress = source, gold, key_map, progress
        self.ids: set[CocoId] = set()
        self.by_name: set[CocoId] = set()

    def read(self, label: str, needed_size: NeededSize | None) -> Iterator[EvaluationImage]:
        """Yield the images with the pixels that are needed, and report progress under a label."""
        records = self._gold["images"]
        images = evaluation_images(self._source, records, self._key_map, needed_size)
        for number, image in enumerate(images, 1):
            self.ids.add(image.record["id"])
            if image.by_name:
                self.by_name.add(image.record["id"])
            if self._progress is not None:
                self._progress(label, number, len(records))
            yield image


def _read_answers(results: Path, gold: GoldDataset, gold_path: Path) -> _Answers:
    """Return the detections of a results file that are of the gold, with what was left out."""
    joined = join_results(read_results(results), gold, results, gold_path)
    facts: dict[str, Any] = {
        **({"unmatched": joined.unmatched} if joined.unmatched else {}),
        **({"notes": joined.notes} if joined.notes else {}),
    }
    return _Answers(joined.rows, facts=facts)


def _keep_seen(answers: _Answers, source: _GoldImages) -> _Answers:
    """Return the detections of the images that the source has, as a model would be measured on them alone."""
    for _ in source.read("reading images", None):
        pass
    return replace(answers, results=[row for row in answers.results if row["image_id"] in source.ids])


def _ask(
    model: Path | TeacherSettings,
    teacher: Teacher[TeacherSettings],
    gold: GoldDataset,
    source: _GoldImages,
    questions: _Questions,
) -> _Answers:
    """Return a model's detections of the gold's categories, and its recall of the gold's phrases."""
    if teacher.query_kind is QueryKind.CLASSES:
        detector = DetectorPredictor(model, gold["categories"], questions.names, questions.batch_size)
        detections = list(detector.results(source.read("detecting", detector.needed_size)))
        return _Answers(
            detections, facts={"classes": detector.matched.facts, "notes": detector.matched.notes}
        )
    predictor = PromptPredictor(
        model, questions.batch_size, questions.prompt_options, questions.asked_per_image
    )
    results = list(predictor.results(source.read("detecting", predictor.needed_size), gold["categories"]))
    has_phrases = questions.phrases and predictor.takes_phrases
    grounded = list(_ground_phrases(predictor, gold, source)) if has_phrases else []
    facts: dict[str, Any] = {"unasked": dict(sorted(predictor.unasked.items()))}
    if unread := predictor.unread:
        facts |= {"unread": dict(sorted(unread.items())), "notes": [note_unread(unread, predictor.name)]}
    if not grounded:
        return _Answers(results, facts=facts)
    facts["phrases"] = len(grounded)
    draws, seed = questions.bootstrap, questions.seed
    recalls = {"recall_at": phrase_recall(grounded, bootstrap=draws, seed=seed)}
    if questions.merged:
        recalls["recall_at_merged"] = phrase_recall(grounded, merged=True, bootstrap=draws, seed=seed)
    return _Answers(results, recalls, recall_by_group(grounded, questions.groups), facts)


def _ground_phrases(
    predictor: PromptPredictor, gold: GoldDataset, source: _GoldImages
) -> Iterator[GroundedPhrase]:
    """Yield every phrase with its boxes after suppression, as for detections: the k best are k different boxes."""
    phrases, boxes = gold_phrases(gold)
    if not phrases:
        return
    captions = {image["id"]: image.get("caption", "") for image in gold["images"]}
    categories = phrase_categories(gold)
    images = source.read("grounding", predictor.needed_size)
    for image, regions in predictor.ground_phrases(images, captions, phrases):
        name = image.record["id"]
        scale = np.array([*image.scale, *image.scale])
        for number, gold_boxes in enumerate(boxes[name]):
            own = suppress_overlaps(regions, number)
            predicted = np.array([box_of(region) for region in own]).reshape(-1, 4) * scale
            scores = np.array([region.score for region in own])
            yield GroundedPhrase(name, gold_boxes, predicted, scores, categories[name][number])


def _make_report(numbers: dict[str, Any], answers: _Answers, facts: dict[str, Any]) -> Evaluation:
    for group, values in answers.recalls_by_group.items():
        numbers["groups"][group]["recall_at"] = values
    intervals = numbers.setdefault("ci", {})
    for name, values in answers.recalls.items():
        intervals[name] = values.pop("ci", {})
    return Evaluation({**numbers, **answers.recalls, **facts})
