"""The closed-vocabulary teacher: which class a phrase names, and what regions it gets on real photographs."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from schemas.errors import ConfigError, NotFound
from schemas.labeler import Prepared
from schemas.records import Phrase, Pixels, Sample
from teacher.build import labeler, labeler_digest
from teacher.detectors.coco_classes import COCO_CLASSES
from teacher.detectors.yolox import Yolox
from teacher.labelers.class_names import SYNONYMS, ClassNames
from teacher.phrases import lexicon


def class_of(phrase: str) -> str | None:
    index = ClassNames(COCO_CLASSES).index_of(phrase)
    return None if index is None else COCO_CLASSES[index]


@pytest.mark.parametrize(
    ("phrase", "name"),
    [
        ("two women", "person"), ("A Little Girl", "person"), ("the people", "person"), ("golfers", "person"),
        ("a brown puppy", "dog"), ("his bikes", "bicycle"), ("an old television", "tv"), ("the sofa", "couch"),
        ("a hot dog", "hot dog"), ("hot dogs", "hot dog"), ("a dog", "dog"), ("corn dogs", None),
        ("red traffic lights", "traffic light"), ("a light", None), ("his cell phone", "cell phone"),
        ("a teddy bear", "teddy bear"), ("a polar bear", "bear"), ("a glass of wine", None),
        ("wine glasses", "wine glass"),
        ("the dog's bowl", "bowl"), ("the dog house", None), ("a pair of skis", "skis"), ("sheep", "sheep"),
        ("buses", "bus"), ("knives", "knife"), ("a fire-truck", "truck"), ("", None), ("🐶", None),
    ],
)  # fmt: skip
def test_the_last_words_of_a_phrase_name_its_class(phrase, name):
    assert class_of(phrase) == name


def test_a_detector_without_hot_dogs_does_not_call_them_dogs():
    assert ClassNames(["dog"]).index_of("a hot dog") is None


def test_every_class_and_every_synonym_leads_to_a_class():
    assert [class_of(name) for name in COCO_CLASSES] == list(COCO_CLASSES)
    assert set(SYNONYMS) <= set(COCO_CLASSES)
    for name, synonyms in SYNONYMS.items():
        for synonym in synonyms.split():
            assert class_of(synonym.replace("-", " ")) == name


def sample_with(*texts: str, width: int, height: int) -> Sample:
    caption = ", ".join(texts)
    phrases = [
        Phrase(begin=caption.index(t), end=caption.index(t) + len(t), text=t, root=t.split()[-1])
        for t in texts
    ]
    return Sample(
        unit="u", shard="s", index=0, key="k", pixels=Pixels(url="file"), image_sha256="0", caption=caption,
        width=width, height=height, phrases=tuple(phrases),
    )  # fmt: skip


@pytest.fixture(scope="session")
def model(shared_data) -> Path:
    return shared_data / "real_teacher" / "yolox_nano.onnx"


@pytest.fixture(scope="session")
def photograph(shared_data) -> np.ndarray:
    with Image.open(shared_data / "real_gold" / "images" / "000000000139.jpg") as image:
        return np.asarray(image.convert("RGB"))


def test_raw_detections_are_those_of_the_reference_run(shared_data, model, photograph):
    rows = json.loads((shared_data / "real_gold" / "yolox_nano_detections.json").read_text())
    gold = json.loads((shared_data / "real_gold" / "instances.json").read_text())
    names = {category["id"]: category["name"] for category in gold["categories"]}
    reference = sorted((row for row in rows if row["image_id"] == 139), key=lambda row: -row["score"])
    detector = Yolox(model, COCO_CLASSES)

    found = detector.detect(detector.letterbox(photograph), 0.01)

    for n, row in enumerate(reference[:60]):
        x, y, w, h = row["bbox"]
        assert found.scores_N[n] == pytest.approx(row["score"], abs=1e-4)
        assert COCO_CLASSES[found.classes_N[n]] == names[row["category_id"]]
        assert found.boxes_N4[n] == pytest.approx([x, y, x + w, y + h], abs=0.02)


def test_regions_are_a_subset_of_the_detectors_boxes_and_other_phrases_get_none(model, photograph):
    height, width = photograph.shape[:2]
    teacher = labeler({"kind": "detector", "model": str(model)}, 2, 0.05)
    sample = sample_with("a woman", "the chairs", "a dream", width=width, height=height)

    regions = teacher.label([teacher.prepare(sample, photograph), None])

    assert regions[1] == [] and {region.phrase for region in regions[0]} == {0, 1}
    detector = Yolox(model, COCO_CLASSES)
    found = detector.detect(detector.letterbox(photograph), 0.01)
    boxes = {
        (*box, score, label)
        for box, score, label in zip(found.boxes_N4.tolist(), found.scores_N, found.classes_N)
    }
    wanted = [COCO_CLASSES.index("person"), COCO_CLASSES.index("chair")]
    for r in regions[0]:
        assert (r.x0, r.y0, r.x1, r.y1, r.score, wanted[r.phrase]) in boxes
        assert r.score == pytest.approx(r.class_score * r.quality) and r.score >= 0.05
        assert 0 <= r.x0 < r.x1 <= width and 0 <= r.y0 < r.y1 <= height


def test_a_sample_gets_the_same_regions_whatever_shares_its_batch(model, photograph):
    height, width = photograph.shape[:2]
    teacher = labeler({"kind": "detector", "model": str(model)}, 3, 0.05)
    one = teacher.prepare(sample_with("a woman", width=width, height=height), photograph)
    other = teacher.prepare(sample_with("chairs", width=height, height=width), photograph.transpose(1, 0, 2))

    alone = teacher.label([one, None, None])[0]

    assert alone and teacher.label([other, None, one])[2] == alone
    assert isinstance(one, Prepared) and one.bucket == other.bucket


def test_the_digest_follows_the_classes_and_not_the_path(model, tmp_path):
    copy = tmp_path / "moved.onnx"
    copy.write_bytes(model.read_bytes())
    settings = {"kind": "detector", "model": str(model)}

    assert labeler_digest(settings) == labeler_digest({**settings, "model": str(copy)})
    assert labeler_digest(settings) == labeler(settings, 1, 0.05).digest
    assert labeler_digest(settings) != labeler_digest({**settings, "nms_iou": 0.5})


def test_the_digest_follows_the_words_that_find_a_phrases_class(model, monkeypatch):
    settings = {"kind": "detector", "model": str(model)}
    before = labeler_digest(settings)
    monkeypatch.setattr(lexicon, "digest", lambda: "of another file")

    assert labeler_digest(settings) != before


def test_a_missing_or_foreign_model_is_an_error_that_says_what_to_do(model):
    with pytest.raises(NotFound, match="teacher.model"):
        labeler({"kind": "detector", "model": "nowhere.onnx"}, 1, 0.05)
    with pytest.raises(ConfigError, match="teacher.classes"):
        labeler({"kind": "detector", "model": str(model), "classes": ["cat"]}, 1, 0.05)


def decoys_of(teacher, caption_phrase: str, *nouns: str) -> Prepared:
    sample = sample_with(caption_phrase, width=64, height=64)
    decoys = tuple(Phrase(text=noun, root=noun, kind="decoy") for noun in nouns)
    asked = sample.model_copy(update={"phrases": (*sample.phrases, *decoys)})
    return teacher.prepare_decoys(asked, np.zeros((64, 64, 3), np.uint8))


def test_a_decoy_counts_only_where_it_names_a_class_that_no_phrase_names(model):
    detector = labeler({"kind": "detector", "model": str(model)}, 1, 0.05)

    prepared = decoys_of(detector, "a man", "cat", "golfer", "carpet")

    assert prepared.second_pass and prepared.inputs.classes == (None, COCO_CLASSES.index("cat"), None, None)
    assert prepared.dropped == ((2, "PH_NO_CLASS"), (3, "PH_NO_CLASS")), (
        "a golfer is a person, a carpet no class"
    )
    assert all(region.pass_index == 1 for region in detector.label([prepared])[0])
