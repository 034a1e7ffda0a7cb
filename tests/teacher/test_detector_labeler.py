"""The closed-vocabulary teacher: which class a phrase names, and its regions on real photographs."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.label.job import JobConfig
from pipelines.label.teacher_spec import TEACHER
from schemas.errors import ConfigError, NotFoundError, SampleRejectedError
from schemas.labeler import PreparedSample
from schemas.records import Phrase, Pixels, Sample
from teacher.detectors.class_names import SYNONYMS, ClassNames
from teacher.detectors.coco_classes import COCO_CLASSES
from teacher.detectors.yolox import Yolox
from teacher.factories import labeler_digest, make_labeler
from teacher.phrases.finder import SpacyPhraseFinder
from teacher.phrases.tagging import lexicon
from teacher.settings import PhraseSettings
from tests.teacher.tiny_onnx import ANCHORS, write_yolox


def class_of(phrase: str) -> str | None:
    index = ClassNames(COCO_CLASSES).find_class(phrase)
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


@pytest.mark.parametrize(
    ("caption", "kind", "name"),
    [
        ("A man riding a horse.", "expression", "person"),
        ("A woman in a red car.", "expression", "person"),
        ("A child with a dog.", "expression", "person"),
        ("The cat on the couch.", "expression", "cat"),
        ("a traffic light on a pole", "given", "traffic light"),
        ("a hot dog with mustard", "given", "hot dog"),
        ("a teddy bear and a cat on a bed", "given", "teddy bear"),
        ("a wooden dining table with chairs", "given", "dining table"),
        ("a corn dog with ketchup on a plate", "given", None),
        ("the man's dog in a car", "given", "dog"),
        ("the dog's owner on a bench", "given", None),
        ("a black and white cat on a chair", "given", "cat"),
        ("a group of people riding horses", "given", "person"),
        ("a group of wizards riding horses", "given", None),
        ("a pair of scissors on a table", "given", "scissors"),
        ("one of the dogs in a car", "given", "dog"),
        ("a glass of wine on a table", "given", None),
        ("the back of a truck", "given", None),
        ("a fire truck parked near a car", "given", "truck"),
        ("a man is riding a horse", "given", "person"),
        ("children flying kites", "given", "person"),
        ("man riding horse", "given", None),
        ("PEOPLE RIDING ELEPHANTS", "given", "person"),
        ("a man-eating bear", "given", "bear"),
        ("a horse riding helmet", "given", None),
        ("broccoli covered pizza", "given", "pizza"),
        ("a fire hydrant painted red", "given", None),
        ("next to the bus a man", "given", "person"),
        ("on a table a bowl of fruit", "given", "bowl"),
        ("on a table", "given", "dining table"),
    ],
)
def test_a_phrase_that_goes_on_behind_its_head_noun_gets_the_heads_class(model, finder, caption, kind, name):
    detector = make_labeler({"kind": "detector", "model": str(model)}, 1, 0.05)
    spans = ((0, len(caption)),) if kind == "given" else ()
    (found,) = finder.find([caption], [spans])
    phrases = tuple(p for p in found.phrases if p.kind == kind and not (spans and p.text != caption))
    assert len(phrases) == 1
    asked = sample_with("x", width=64, height=64).model_copy(update={"caption": caption, "phrases": phrases})
    image = np.zeros((64, 64, 3), np.uint8)

    expected = None if name is None else COCO_CLASSES.index(name)

    assert detector.prepare(asked, image).inputs.classes == (expected,)
    decoy = Phrase(text=name or "zebra", root=name or "zebra", kind="decoy")
    second = detector.prepare_decoys(asked.model_copy(update={"phrases": (*phrases, decoy)}), image)
    assert (second.dropped == ((1, "PH_NO_CLASS"),)) == (name is not None), "its class is asked for already"


def test_phrases_that_end_in_their_head_keep_their_class_by_last_words(model):
    detector = make_labeler({"kind": "detector", "model": str(model)}, 1, 0.05)
    texts = {"a man riding a horse": "horse", "a group of people in hats on a couch": "couch"}
    for text, name in texts.items():
        classes = {}
        for kind in ("chunk", "ngram", "decoy", "expression", "given"):
            place = {} if kind == "decoy" else {"begin": 0, "end": len(text)}
            phrase = Phrase(**place, text=text, root=text.split()[1], kind=kind)
            asked = sample_with(text, width=64, height=64).model_copy(update={"phrases": (phrase,)})
            (classes[kind],) = detector.prepare(asked, np.zeros((64, 64, 3), np.uint8)).inputs.classes

        last, head = COCO_CLASSES.index(name), COCO_CLASSES.index("person")
        assert classes == {"chunk": last, "ngram": last, "decoy": last, "expression": head, "given": head}


def test_only_jobs_with_expressions_or_given_spans_get_another_detector_digest(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"weights")

    def digest(phrases: dict, **reading: str) -> str:
        job = {
            "input": {"urls": ["a.tar"], **reading},
            "phrases": phrases,
            "teacher": {"kind": "detector", "model": str(tmp_path / "m.onnx")},
            "output": {"url": "out"},
        }
        return TEACHER.of_labeler(JobConfig.model_validate(job)).digest

    # computed at 47d028d
    before = "sha256:92f9808cdc8a792f08141b7b55ae9ece4471f10a29b67f7f74a0afe458121cb9"
    for plain in ({}, {"chunker": "ngrams"}, {"partitives": "whole"}, {"pipeline": "lexicon"}):
        assert digest(plain) == before
    changed = {
        digest({"expressions": True}),
        digest({}, spans="json:spans"),
        digest({"chunker": "given"}, spans="json:spans"),
    }
    assert len(changed) == 1 and before not in changed


def test_a_detector_without_hot_dogs_does_not_call_them_dogs():
    assert ClassNames(["dog"]).find_class("a hot dog") is None


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


def with_metadata(model: Path, folder: Path, **entries: str) -> Path:
    """Return the model with metadata entries appended, as protobuf field 14 of an ONNX model."""
    held = b""
    for key, value in entries.items():
        pair = b"".join(
            tag + _length(text.encode()) + text.encode() for tag, text in ((b"\x0a", key), (b"\x12", value))
        )
        held += b"\x72" + _length(pair) + pair
    (folder / "named.onnx").write_bytes(model.read_bytes() + held)
    return folder / "named.onnx"


def _length(data: bytes) -> bytes:
    """Return the length as a varint."""
    number, out = len(data), b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


@pytest.mark.parametrize("form", [str, json.dumps, lambda names: "\n".join(f"- {name}" for name in names)])
def test_a_model_that_names_other_classes_is_not_taken_for_cocos(model, tmp_path, form):
    others = ["mug", *COCO_CLASSES[1:]]
    named = {"kind": "detector", "model": str(with_metadata(model, tmp_path, names=form(others)))}

    with pytest.raises(ConfigError, match=r"class 0 is 'mug' by the metadata 'names'.*set teacher\.classes"):
        make_labeler(named, 1, 0.05)
    assert make_labeler({**named, "classes": others}, 1, 0.05).digest != labeler_digest(named)
    assert make_labeler({**named, "classes": list(COCO_CLASSES)}, 1, 0.05).digest == labeler_digest(named)


def test_a_model_that_names_cocos_classes_in_other_words_is_taken(model, tmp_path):
    words = {"airplane": "aeroplane", "dining table": "diningtable", "tv": "tvmonitor", "person": "Person"}
    own = {number: words.get(name, name) for number, name in enumerate(COCO_CLASSES)}
    make_labeler({"kind": "detector", "model": str(with_metadata(model, tmp_path, names=str(own)))}, 1, 0.05)


@pytest.fixture(scope="session")
def finder() -> SpacyPhraseFinder:
    return SpacyPhraseFinder(PhraseSettings(expressions=True))


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
    teacher = make_labeler({"kind": "detector", "model": str(model)}, 2, 0.05)
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
    teacher = make_labeler({"kind": "detector", "model": str(model)}, 3, 0.05)
    one = teacher.prepare(sample_with("a woman", width=width, height=height), photograph)
    other = teacher.prepare(sample_with("chairs", width=height, height=width), photograph.transpose(1, 0, 2))

    alone = teacher.label([one, None, None])[0]

    assert alone and teacher.label([other, None, one])[2] == alone
    assert isinstance(one, PreparedSample) and one.bucket == other.bucket


@pytest.mark.parametrize("place", [0, 4, 5])
def test_values_that_are_not_finite_reject_their_sample(tmp_path, place):
    """A box, an objectness and a class score: none of them may look like an image without objects."""
    answer = np.zeros((ANCHORS, 85), np.float32)
    answer[:, 4:6] = 0.9
    answer[3, place] = np.nan
    teacher = make_labeler(
        {"kind": "detector", "model": str(write_yolox(tmp_path / "m.onnx", answer))}, 1, 0.05
    )
    image = np.zeros((64, 64, 3), np.uint8)

    with pytest.raises(SampleRejectedError) as caught:
        teacher.label([teacher.prepare(sample_with("a woman", width=64, height=64), image)])

    assert caught.value.code == "TEACHER_NONFINITE"


def test_the_digest_follows_the_classes_and_not_the_path(model, tmp_path):
    copy = tmp_path / "moved.onnx"
    copy.write_bytes(model.read_bytes())
    settings = {"kind": "detector", "model": str(model)}

    assert labeler_digest(settings) == labeler_digest({**settings, "model": str(copy)})
    assert labeler_digest(settings) == make_labeler(settings, 1, 0.05).digest
    assert labeler_digest(settings) != labeler_digest({**settings, "nms_iou": 0.5})


def test_the_digest_follows_the_words_that_find_a_phrases_class(model, monkeypatch):
    settings = {"kind": "detector", "model": str(model)}
    before = labeler_digest(settings)
    monkeypatch.setattr(lexicon, "lexicon_digest", lambda: "of another file")

    assert labeler_digest(settings) != before


def test_a_missing_or_foreign_model_is_an_error_that_says_what_to_do(model):
    with pytest.raises(NotFoundError, match="teacher.model"):
        make_labeler({"kind": "detector", "model": "nowhere.onnx"}, 1, 0.05)
    with pytest.raises(ConfigError, match="teacher.classes"):
        make_labeler({"kind": "detector", "model": str(model), "classes": ["cat"]}, 1, 0.05)


def decoys_of(teacher, caption_phrase: str, *nouns: str) -> PreparedSample:
    sample = sample_with(caption_phrase, width=64, height=64)
    decoys = tuple(Phrase(text=noun, root=noun, kind="decoy") for noun in nouns)
    asked = sample.model_copy(update={"phrases": (*sample.phrases, *decoys)})
    return teacher.prepare_decoys(asked, np.zeros((64, 64, 3), np.uint8))


def test_a_decoy_counts_only_where_it_names_a_class_that_no_phrase_names(model):
    detector = make_labeler({"kind": "detector", "model": str(model)}, 1, 0.05)

    prepared = decoys_of(detector, "a man", "cat", "golfer", "carpet")

    assert prepared.second_pass and prepared.inputs.classes == (None, COCO_CLASSES.index("cat"), None, None)
    assert prepared.dropped == ((2, "PH_NO_CLASS"), (3, "PH_NO_CLASS")), (
        "a golfer is a person, a carpet no class"
    )
    assert all(region.pass_index == 1 for region in detector.label([prepared])[0])
