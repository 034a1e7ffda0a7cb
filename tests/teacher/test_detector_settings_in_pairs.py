"""Settings of a job with a detector, tested in pairs: chunkers, pipelines, forms of the model, decoys, given spans,
expressions. Every phrase gets the boxes of the class of its own head, whatever else the job says.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.ledger.evidence import evidence_rows
from engine.ledger.snapshots.snapshots import latest_snapshot
from engine.storage.store import open_store
from pipelines.label.job import JobConfig
from pipelines.label.run import label
from pipelines.label.teacher_spec import TEACHER
from schemas.records import Phrase
from teacher.detectors.formats import find_format
from teacher.detectors.settings import DetectorSettings
from teacher.phrases.chunkers.registry import CHUNKERS
from tests.engine.worlds import picture, sample_members, tar_bytes
from tests.mutations import Mutation
from tests.teacher.huggingface.tiny_detectors import NAMES, save_detector
from tests.teacher.tiny_onnx import ANCHORS, write_yolox

pytestmark = pytest.mark.slow

FACTORS: dict[str, tuple[str, ...]] = {
    "chunker": ("noun_chunks", "pos_grammar", "ngrams", "given"),
    "pipeline": ("bundled", "lexicon"),
    "form": ("onnx", "directory"),
    "decoys": ("no decoys", "decoys"),
    "spans": ("no spans", "spans"),
    "expressions": ("no expressions", "expressions"),
}
IMPOSSIBLE = {("given", "no spans"), ("pos_grammar", "expressions"), ("lexicon", "expressions")}
"""A job whose only phrases are given spans needs them, and expressions need a parser."""
TABLE = [
    ("noun_chunks", "bundled", "onnx", "no decoys", "spans", "expressions"),
    ("noun_chunks", "lexicon", "directory", "decoys", "no spans", "no expressions"),
    ("pos_grammar", "bundled", "directory", "decoys", "spans", "no expressions"),
    ("pos_grammar", "lexicon", "onnx", "no decoys", "no spans", "no expressions"),
    ("ngrams", "bundled", "directory", "no decoys", "no spans", "expressions"),
    ("ngrams", "lexicon", "onnx", "decoys", "spans", "no expressions"),
    ("given", "bundled", "onnx", "decoys", "spans", "expressions"),
    ("given", "lexicon", "directory", "no decoys", "spans", "no expressions"),
]
CAPTIONS: dict[str, dict[str, str | None]] = {
    "A man riding a horse.": {"A man riding a horse": "person"},
    "The cat on the car.": {"The cat on the car": "cat"},
    "A pack of dogs near a red car.": {"A pack of dogs": "dog", "near a red car": "car"},
    "Two horses and a cat.": {"Two horses": "horse"},
    "The roof of a car.": {"The roof of a car": None},
}
"""Captions, and their given spans with the class of each one's head."""
EXPRESSIONS: dict[str, str | None] = {
    "man riding a horse": "person",
    "cat on the car": "cat",
    "pack of dogs near a red car": "dog",
    "roof of a car": None,
}
LAST_WORDS = {"man": "person", "horse": "horse", "horses": "horse", "cat": "cat", "dogs": "dog", "car": "car"}
POOL = ("cat", "dog", "horse", "car", "lamp", "tree", "bee", "frog")


def list_pairs(rows: Iterable[tuple[str, ...]]) -> set[tuple[str, str]]:
    return {pair for row in rows for pair in itertools.combinations(row, 2)}


def test_the_table_has_every_pair_of_settings_that_can_be() -> None:
    possible = list_pairs(itertools.product(*FACTORS.values())) - IMPOSSIBLE

    assert possible - list_pairs(TABLE) == set()
    assert set(FACTORS["chunker"]) == set(CHUNKERS.names())


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Return the section `teacher` for each form of a model."""
    folder = tmp_path_factory.mktemp("models")
    answer = np.zeros((ANCHORS, 5 + len(NAMES)), np.float32)
    for anchor, label_ in ((0, 1), (1, 2), (2, 3), (5, 4), (6, 5), (16, 1), (20, 3)):
        answer[anchor, :5] = (0.5, 0.5, 0.2, 0.1, 1)
        answer[anchor, 5 + label_] = 0.5 + anchor / 50
    onnx = write_yolox(folder / "m.onnx", answer)
    directory = save_detector("rt_detr", folder / "rt_detr")
    return {
        "onnx": {"kind": "detector", "model": str(onnx), "classes": list(NAMES)},
        "directory": {"kind": "detector", "model": str(directory)},
    }


def make_job(folder: Path, teacher: dict[str, Any], row: tuple[str, ...]) -> JobConfig:
    chosen = dict(zip(FACTORS, row, strict=True))
    members = [
        member
        for number, (caption, spans) in enumerate(CAPTIONS.items())
        for member in sample_members(
            f"{number:03d}",
            caption,
            spans=[[caption.index(text), caption.index(text) + len(text)] for text in spans],
        )
    ]
    (folder / "a.tar").write_bytes(tar_bytes(members))
    (folder / "pool.txt").write_text("".join(f"{noun}\t8\n" for noun in POOL))
    decoys = {"share": 1.0, "per_image": 3, "pool": str(folder / "pool.txt")}
    return JobConfig.model_validate(
        {
            "input": {
                "urls": [str(folder / "a.tar")],
                "spans": "json:spans" if chosen["spans"] == "spans" else None,
            },
            "phrases": {
                "chunker": chosen["chunker"],
                "pipeline": chosen["pipeline"],
                "expressions": chosen["expressions"] == "expressions",
            },
            "teacher": teacher,
            "evidence": {"min_score": 0.05, "nms_iou": 1},
            "decoys": decoys if chosen["decoys"] == "decoys" else {},
            "output": {"url": str(folder / "out")},
            "run": {"executor": "local", "batch_size": 3},
        }
    )


def detect(teacher: dict[str, Any]) -> dict[str, list[tuple[float, ...]]]:
    """Return the boxes of each class in the one picture of all samples, by the detector itself."""
    settings = DetectorSettings.model_validate(teacher)
    detector = find_format(settings.model).load(settings)
    with Image.open(io.BytesIO(picture())) as image:
        prepared = detector.prepare_image(np.asarray(image.convert("RGB")))
    (found,) = detector.detect_batch([prepared], 0.05)
    boxes: dict[str, list[tuple[float, ...]]] = {name: [] for name in NAMES}
    for box, score, number in zip(found.boxes_N4.tolist(), found.scores_N, found.classes_N, strict=True):
        if box[2] > box[0] and box[3] > box[1]:
            boxes[NAMES[number]].append((*box, float(score)))
    return boxes


def expected_class(caption: str, phrase: Phrase) -> str | None:
    """Return the class of a phrase's head, from the tables above."""
    if phrase.kind == "given":
        return CAPTIONS[caption][phrase.text]
    if phrase.kind == "expression":
        return EXPRESSIONS[phrase.text.removeprefix("A ").removeprefix("The ")]
    return LAST_WORDS.get(phrase.text.split()[-1].lower())


@pytest.mark.parametrize("row", TABLE, ids=lambda row: " ".join(row[:3]))
def test_every_phrase_gets_the_boxes_of_its_own_heads_class(
    tmp_path: Path, models: dict[str, dict[str, Any]], row: tuple[str, ...]
) -> None:
    teacher = models[row[2]]
    job = make_job(tmp_path, teacher, row)
    boxes = detect(teacher)
    assert all(boxes[name] for name in NAMES[1:])

    label(job)

    store = open_store(job.output.url)
    rows = list(evidence_rows(store, latest_snapshot(store)))
    assert len(rows) == len(CAPTIONS)
    kinds = set()
    for sample in rows:
        phrases = [
            Phrase.model_validate({name: item[name] for name in ("begin", "end", "text", "root", "kind")})
            for item in sample["phrases"]
        ]
        kinds |= {phrase.kind for phrase in phrases}
        asked = {expected_class(sample["caption"], phrase) for phrase in phrases if phrase.kind != "decoy"}
        for number, phrase in enumerate(phrases):
            own = [region for region in sample["regions"] if region["phrase"] == number]
            name = expected_class(sample["caption"], phrase)
            if phrase.kind == "decoy" and name in asked:
                name = None
            found = sorted((r["x0"], r["y0"], r["x1"], r["y1"], r["score"]) for r in own)
            wanted = sorted(boxes[name]) if name is not None else []
            assert len(found) == len(wanted), (sample["caption"], phrase, name)
            assert np.allclose(np.reshape(found, (-1, 5)), np.reshape(wanted, (-1, 5)), atol=1e-3), phrase
            assert {region["pass_index"] for region in own} <= {int(phrase.kind == "decoy")}
    base = {"given": set(), "ngrams": {"ngram"}}.get(row[0], {"chunk"})
    parsed = job.phrases.has_parser and row[0] != "given"
    assert kinds == (
        base
        | ({"decoy"} if row[3] == "decoys" else set())
        | ({"given"} if row[4] == "spans" else set())
        | ({"expression"} if row[5] == "expressions" and parsed else set())
    )


def test_only_jobs_with_given_spans_and_no_parser_get_another_digest(
    tmp_path: Path, models: dict[str, dict[str, Any]]
) -> None:
    def digest(chunker: str, pipeline: str, spans: str, form: str) -> str:
        job = make_job(
            tmp_path, models[form], (chunker, pipeline, form, "no decoys", spans, "no expressions")
        )
        return TEACHER.of_labeler(job).digest

    for form in models:
        parsed = digest("noun_chunks", "bundled", "spans", form)
        assert digest("ngrams", "bundled", "spans", form) == parsed
        unparsed = {
            digest("pos_grammar", "bundled", "spans", form),
            digest("given", "lexicon", "spans", form),
        }
        assert len(unparsed) == 1 and parsed not in unparsed
        plain = digest("noun_chunks", "bundled", "no spans", form)
        assert digest("pos_grammar", "lexicon", "no spans", form) == plain not in unparsed


MUTATIONS = (
    Mutation(
        "teacher/labelers/detector_labeler.py",
        '        if phrase.kind == "given" and self._guesses_heads:',
        "        if False:",
        "test_every_phrase_gets_the_boxes_of_its_own_heads_class",
    ),
    Mutation(
        "teacher/labelers/detector_labeler.py",
        "        if phrase.kind in _LONG:",
        "        if False:",
        "test_every_phrase_gets_the_boxes_of_its_own_heads_class",
    ),
    Mutation(
        "teacher/labelers/detector_labeler.py",
        "label if decoy and label not in seen else None",
        "label if decoy else None",
        "test_every_phrase_gets_the_boxes_of_its_own_heads_class",
    ),
    Mutation(
        "pipelines/label/teacher_spec.py",
        '{"guessed_heads": True} if _has_guessed_heads(job) else {}',
        "{}",
        "test_only_jobs_with_given_spans_and_no_parser_get_another_digest",
    ),
)
"""Each removes a guard. `python -m tests.mutations` shows that the named test fails then."""
