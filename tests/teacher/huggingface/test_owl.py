"""OWL-ViT and OWLv2 as teachers: regions from each phrase's own logits, in the stored image, whatever else is asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from schemas.errors import SampleRejectedError
from schemas.records import Region
from teacher.factories import make_labeler
from teacher.huggingface import owl
from teacher.huggingface.running import run_model
from tests.mutations import Mutation
from tests.teacher.huggingface.tiny_owl import KINDS, make_picture, make_sample, save_owls

CLASSES = {"owlvit": "OwlViT", "owlv2": "Owlv2"}
TEXTS = ("a red circle", "two dog", "the ring on a wall")
SIZES = ((60, 90), (90, 60), (64, 64), (200, 150), (50, 300))

OWL, BASE = "teacher/huggingface/owl.py", "teacher/huggingface/labeler.py"
PARTS = "teacher/huggingface/owl_parts.py"
FORWARD = "with torch.autocast(pixels_B3HW.device.type, enabled=False):"
SCORE = "with torch.autocast(patches_BND.device.type, enabled=False):"
MUTATIONS = (
    Mutation(
        "teacher/labelers/owlv2.py", "return max(stored_size), max(stored_size)", "return stored_size",
        "test_regions_are_a_direct_reading_of_the_models_logits_and_boxes",
    ),
    Mutation(
        "teacher/labelers/owlv2.py", "resize_square(image_rgb_u8, self.rules.exact[0])",
        "self.rules.resize(image_rgb_u8)",
        "test_regions_are_a_direct_reading_of_the_models_logits_and_boxes",
    ),
    Mutation(
        BASE, "np.flatnonzero(inside_N & (", "np.flatnonzero((",
        "test_boxes_in_the_padding_are_left_out_and_others_clipped",
    ),
    Mutation(
        BASE, "boxes_N4 = clip(scaled_N4, width, height)", "boxes_N4 = scaled_N4",
        "test_boxes_in_the_padding_are_left_out_and_others_clipped",
    ),
    Mutation(
        BASE, "np.nonzero(~(scores_QP < min_score))",
        "np.nonzero((scores_QP >= min_score) & (scores_QP == scores_QP.max(axis=1, keepdims=True)))",
        "test_phrases_of_one_object_both_keep_its_box",
    ),
    Mutation(
        OWL, "0 if question is None else len(question.phrases)", "0 if question is None else QUERIES",
        "test_a_sample_gets_the_same_regions_whatever_shares_its_batch",
    ),
    Mutation(
        OWL, "range(0, len(numbers), QUERIES)", "range(0, min(len(numbers), QUERIES), QUERIES)",
        "test_any_number_of_phrases_is_asked_in_questions_of_a_fixed_number",
    ),
    Mutation(
        OWL, '(phrase.kind == "decoy") is not wanted', "False",
        "test_decoys_are_asked_in_questions_of_their_own_after_the_others",
    ),
    Mutation(OWL, "self.min_score, qualities)", "self.min_score)", "test_quality_is_the_objectness_of_owlv2"),
    Mutation(
        BASE, "found.class_scores_N, found.qualities_N)", "found.class_scores_N)",
        "test_an_objectness_that_is_not_finite_rejects_the_sample",
    ),
    Mutation(PARTS, FORWARD, FORWARD.replace("False", "True"), "test_heads_compute_in_32_bits_at_lower_precision"),
    Mutation(PARTS, SCORE, SCORE.replace("False", "True"), "test_heads_compute_in_32_bits_at_lower_precision"),
    Mutation(
        OWL, "lru_cache(maxsize=CACHED_TEXTS)", "lru_cache(maxsize=None)",
        "test_kept_texts_are_bounded_and_change_no_region",
    ),
    Mutation(OWL, "self._encode_text.cache_clear()", "pass", "test_closing_forgets_the_texts"),
)  # fmt: skip


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return save_owls(tmp_path_factory.mktemp("owl"))


def build(folders: dict[str, Path], kind: str, batch_size: int = 1, min_score: float = 0.0, **settings):
    return make_labeler({"kind": kind, "model": str(folders[kind]), **settings}, batch_size, min_score)


def prepare(teacher, *texts: str, height: int = 60, width: int = 90, seed: int = 0):
    return teacher.prepare(make_sample(*texts, width=width, height=height), make_picture(height, width, seed))


def run_directly(folder: Path, kind: str, image: np.ndarray, texts: tuple[str, ...]):
    """Return processor and outputs of the whole model, as the documentation of transformers runs it."""
    processor = getattr(transformers, f"{CLASSES[kind]}Processor").from_pretrained(folder)
    model = getattr(transformers, f"{CLASSES[kind]}ForObjectDetection").from_pretrained(folder).eval()
    with torch.no_grad():
        return processor, model(**processor(text=[list(texts)], images=image, return_tensors="pt"))


def read_directly(folder: Path, kind: str, image: np.ndarray, texts: tuple[str, ...]) -> list[Region]:
    """Return the regions that the model's logits and boxes mean, one by one."""
    _, outputs = run_directly(folder, kind, image, texts)
    height, width = image.shape[:2]
    across, down = (max(height, width),) * 2 if kind == "owlv2" else (width, height)
    regions = []
    for n, (cx, cy, w, h) in enumerate(outputs.pred_boxes[0].double().tolist()):
        x0, x1 = max((cx - w / 2) * across, 0), min((cx + w / 2) * across, width)
        y0, y1 = max((cy - h / 2) * down, 0), min((cy + h / 2) * down, height)
        quality = float(outputs.objectness_logits[0, n].sigmoid()) if kind == "owlv2" else None
        for phrase in range(len(texts)):
            if x1 > x0 and y1 > y0:
                score = float(outputs.logits[0, n, phrase].sigmoid())
                regions.append(
                    Region(phrase=phrase, x0=x0, y0=y0, x1=x1, y1=y1, score=score, quality=quality)
                )
    return regions


def assert_close(found: list[Region], expected: list[Region]) -> None:
    """Compare scores and qualities within 1e-5, boxes within 1e-5 of the longest side of the test's images."""
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert (one.phrase, one.pass_index) == (other.phrase, other.pass_index)
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert one.quality == (None if other.quality is None else pytest.approx(other.quality, abs=1e-5))
        boxes = ((box.x0, box.y0, box.x1, box.y1) for box in (one, other))
        assert next(boxes) == pytest.approx(next(boxes), abs=4e-3)


@pytest.mark.parametrize("size", SIZES)
def test_regions_are_a_direct_reading_of_the_models_logits_and_boxes(folders, kind, size):
    found = build(folders, kind)
    regions = found.label([prepare(found, *TEXTS, height=size[0], width=size[1])])[0]

    assert_close(regions, read_directly(folders[kind], kind, make_picture(*size), TEXTS))
    assert found.score_kind == f"{kind}.sigmoid"


def test_one_phrase_gets_what_transformers_post_processing_gives(folders, kind):
    teacher = build(folders, kind, min_score=0.3)
    regions = teacher.label([prepare(teacher, TEXTS[0])])[0]

    processor, outputs = run_directly(folders[kind], kind, make_picture(60, 90), TEXTS[:1])
    (theirs,) = processor.post_process_grounded_object_detection(
        outputs, threshold=0.3, target_sizes=[(60, 90)], text_labels=[[TEXTS[0]]]
    )
    boxes = theirs["boxes"].clamp(min=0).minimum(torch.tensor([90, 60, 90, 60]))
    inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    assert 0 < len(regions) < 16
    assert [r.score for r in regions] == pytest.approx(theirs["scores"][inside].tolist(), abs=1e-5)
    own = np.array([[r.x0, r.y0, r.x1, r.y1] for r in regions])
    assert own == pytest.approx(boxes[inside].numpy(), abs=1e-3)


def test_boxes_in_the_padding_are_left_out_and_others_clipped(folders):
    teacher = build(folders, "owlv2")
    image = make_picture(40, 120)
    _, outputs = run_directly(folders["owlv2"], "owlv2", image, TEXTS[:1])
    _, cy, _, h = (outputs.pred_boxes[0].double() * 120).T
    above = int(((cy - h / 2) < 40).sum())

    regions = teacher.label([prepare(teacher, TEXTS[0], height=40, width=120)])[0]

    assert len(regions) == above < 16, "a box below row 40 is of nothing"
    assert all(0 <= r.x0 < r.x1 <= 120 and 0 <= r.y0 < r.y1 <= 40 for r in regions)
    assert any(r.y1 == 40 for r in regions), "a box that reaches into the padding ends at the image's height"


def test_phrases_of_one_object_both_keep_its_box(folders, kind):
    teacher = build(folders, kind)

    regions = teacher.label([prepare(teacher, TEXTS[0], TEXTS[1], TEXTS[0])])[0]

    boxes = [{(r.x0, r.y0, r.score) for r in regions if r.phrase == phrase} for phrase in range(3)]
    assert boxes[0] == boxes[2] and len(boxes[0]) > 8, "a repeated phrase has the same regions"
    assert {box[:2] for box in boxes[0]} == {box[:2] for box in boxes[1]} and boxes[0] != boxes[1]


def test_a_sample_gets_the_same_regions_whatever_shares_its_batch(folders, kind):
    teacher, alone = build(folders, kind, batch_size=3), build(folders, kind)
    many = tuple(f"a {word} number {n}" for n in range(9) for word in ("cat", "dog", "star", "big ring"))
    rows = [
        prepare(teacher, "a cat", height=90, width=60, seed=1),
        prepare(teacher, *TEXTS),
        prepare(teacher, *many, seed=2),
        prepare(teacher, seed=3),
    ]

    assert len({row.bucket for row in rows}) == 1
    first = teacher.label([rows[0], None, None])[0]
    assert (
        first == teacher.label([rows[2], rows[1], rows[0]])[2] == teacher.label([rows[3], rows[0], None])[1]
    )
    for row, regions in zip(rows, teacher.label(rows[:3]), strict=False):
        assert_close(regions, alone.label([row])[0])
    assert teacher.label([None, rows[3], None]) == [[], [], []]


def test_any_number_of_phrases_is_asked_in_questions_of_a_fixed_number(folders, kind):
    teacher = build(folders, kind)
    texts = tuple(f"a {n} ring" for n in range(owl.QUERIES + 3))

    regions = teacher.label([prepare(teacher, *texts)])[0]

    passes = {region.phrase: region.pass_index for region in regions}
    assert passes == {phrase: int(phrase >= owl.QUERIES) for phrase in range(len(texts))}
    own = [region for region in regions if region.phrase == len(texts) - 1]
    expected = teacher.label([prepare(teacher, texts[-1])])[0]
    assert [(r.x0, r.score) for r in own] == [(r.x0, r.score) for r in expected]


def test_decoys_are_asked_in_questions_of_their_own_after_the_others(folders, kind):
    teacher = build(folders, kind)
    plain = make_sample(*TEXTS[:2], width=90, height=60)
    asked = make_sample(*TEXTS[:2], width=90, height=60, decoys=("a cat", "a " * 20, "star"))
    image = make_picture(60, 90)

    second = teacher.prepare_decoys(asked, image)
    regions = teacher.label([second])[0]

    assert second.second_pass and second.dropped == ((3, "PH_TOO_LONG"),)
    assert {(r.phrase, r.pass_index) for r in regions} == {(2, 1), (4, 1)}
    together = teacher.label([teacher.prepare(asked, image)])[0]
    assert {(r.phrase, r.pass_index) for r in together} == {(0, 0), (1, 0), (2, 1), (4, 1)}
    assert [r for r in together if r.phrase < 2] == teacher.label([teacher.prepare(plain, image)])[0]
    assert [r for r in together if r.phrase >= 2] == regions


def test_quality_is_the_objectness_of_owlv2(folders):
    for kind, has_quality in (("owlvit", False), ("owlv2", True)):
        teacher = build(folders, kind)

        qualities = {region.quality for region in teacher.label([prepare(teacher, *TEXTS)])[0]}

        assert len(qualities) > 8 if has_quality else qualities == {None}


def test_an_objectness_that_is_not_finite_rejects_the_sample(folders):
    teacher = build(folders, "owlv2")
    teacher.model.detector.objectness_head.dense2.weight *= float("nan")

    with pytest.raises(SampleRejectedError, match="TEACHER_NONFINITE"):
        teacher.label([prepare(teacher, *TEXTS)])


def test_heads_compute_in_32_bits_at_lower_precision(folders, kind):
    teacher = build(folders, kind, precision="bf16")
    pixels = torch.zeros(1, 3, 64, 64)

    with run_model(teacher.device, "bf16"):
        parts = teacher.model(pixels)
        scores = teacher.model.score(parts.patches_BND, torch.ones(1, 2, 32))

    assert {part.dtype for part in (*parts, scores) if part is not None} == {torch.float32}
    assert len(teacher.label([prepare(teacher, *TEXTS)])[0]) > 8


def test_kept_texts_are_bounded_and_change_no_region(folders, kind, monkeypatch):
    plenty = build(folders, kind)
    monkeypatch.setattr(owl, "CACHED_TEXTS", 2)
    scarce = build(folders, kind)
    row = prepare(plenty, *TEXTS, "a cat", TEXTS[0])

    first, again = plenty.label([row]), plenty.label([row])

    assert first == again == scarce.label([row]) == scarce.label([row])
    assert plenty._encode_text.cache_info().misses == 4, "each text is encoded once"
    assert scarce._encode_text.cache_info().currsize == 2


def test_closing_forgets_the_texts(folders, kind):
    teacher = build(folders, kind)
    teacher.label([prepare(teacher, *TEXTS)])

    teacher.close()

    assert teacher._encode_text.cache_info().currsize == 0
