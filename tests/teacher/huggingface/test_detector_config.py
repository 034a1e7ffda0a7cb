"""What config.json decides: which directories are detectors, which class a phrase names, how a head is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import ConfigError, NotFoundError, RuntimeEnvironmentError
from teacher.detectors.class_names import ClassNames
from teacher.detectors.directory.config import (
    HEADS,
    OPEN_VOCABULARY,
    TEXT_DETECTORS,
    choose_class_names,
    find_head,
    is_detector_directory,
    read_class_names,
)
from teacher.detectors.formats import find_format
from teacher.registry import recognize_model
from tests.mutations import Mutation


def write_config(folder: Path, **values: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(values))
    return folder


# ---- recognition


def test_the_model_types_are_those_of_transformers() -> None:
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES,
        MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES,
    )

    assert set(MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES) == set(HEADS) | TEXT_DETECTORS
    assert set(MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES) == OPEN_VOCABULARY
    assert all(
        name.endswith("ForObjectDetection") for name in MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES.values()
    )


@pytest.mark.parametrize(
    ("model_type", "architectures", "is_detector"),
    [
        ("rt_detr", ["RTDetrForObjectDetection"], True),
        ("detr", None, True),
        ("detr", [], True),
        ("next_detr", ["NextDetrForObjectDetection"], True),
        ("next_detr", None, False),
        ("detr", ["DetrModel"], False),
        ("detr", ["DetrForSegmentation"], False),
        ("rf_detr", ["RfDetrForInstanceSegmentation"], False),
        ("resnet", ["ResNetBackbone"], False),
        ("grounding-dino", ["GroundingDinoForObjectDetection"], False),
        ("owlv2", ["Owlv2ForObjectDetection"], False),
        ("pp_ocrv5_server_det", ["PPOCRV5ServerDetForObjectDetection"], False),
        ("glip", ["GlipForGrounding"], False),
        (None, ["DetrForObjectDetection"], False),
        (7, "DetrForObjectDetection", False),
    ],
)
def test_a_directory_is_a_detector_by_type_and_architecture(
    tmp_path: Path, model_type: object, architectures: object, is_detector: bool
) -> None:
    folder = write_config(tmp_path / "m", model_type=model_type, architectures=architectures)

    assert is_detector_directory(folder) is is_detector
    if is_detector:
        assert recognize_model(folder)[0] == "detector"


def test_what_is_no_detector_is_refused_with_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")

    assert not is_detector_directory(tmp_path / "broken") and not is_detector_directory(tmp_path / "none")
    with pytest.raises(
        ConfigError, match=r"not a directory of an object detector.*rt_detr, d_fine, detr or yolos"
    ):
        find_format(str(write_config(tmp_path / "m", model_type="resnet")))
    with pytest.raises(
        NotFoundError, match=r"teacher\.model is the path of an \.onnx file or of a model directory"
    ):
        find_format(str(tmp_path / "none"))


# ---- the head


@pytest.mark.parametrize(
    ("model_type", "logits", "has_no_object"),
    [("detr", 7, True), ("yolos", 7, True), ("table-transformer", 7, True), ("rt_detr", 6, False)]
    + [("deformable_detr", 6, False), ("next_detr", 7, True), ("next_detr", 6, False)],
)
def test_a_head_is_read_by_model_type_and_width(
    tmp_path: Path, model_type: str, logits: int, has_no_object: bool
) -> None:
    folder = write_config(tmp_path, model_type=model_type)

    assert find_head(folder, logits, classes=6).has_no_object is has_no_object


@pytest.mark.parametrize(("model_type", "logits"), [("detr", 6), ("rt_detr", 7), ("next_detr", 9)])
def test_logits_that_do_not_fit_the_classes_end_the_run(tmp_path: Path, model_type: str, logits: int) -> None:
    folder = write_config(tmp_path, model_type=model_type)

    with pytest.raises(RuntimeEnvironmentError, match=f"{logits} logits for 6 classes"):
        find_head(folder, logits, classes=6)


# ---- names


def test_names_are_in_the_order_of_the_outputs_and_placeholders_are_no_class(tmp_path: Path) -> None:
    names = ["N/A", "person", "cat", " n/a ", "", "background"]
    shuffled = {str(n): names[n] for n in (10 % 6, 2, 0, 5, 1, 3)}

    assert read_class_names(write_config(tmp_path, id2label=shuffled)) == (
        None,
        "person",
        "cat",
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    "id2label", [None, {}, {"0": "LABEL_0", "1": "LABEL_1"}, {"0": "N/A", "1": "LABEL_1"}]
)
def test_a_model_that_names_no_classes_needs_them_in_the_job(tmp_path: Path, id2label: object) -> None:
    folder = write_config(tmp_path, id2label=id2label)

    with pytest.raises(
        ConfigError, match=r"id2label does not name the model's classes; set teacher\.classes"
    ):
        choose_class_names(folder, None)
    assert choose_class_names(folder, ["cat", "N/A"]) == ("cat", None)


def test_names_with_a_gap_are_refused(tmp_path: Path) -> None:
    folder = write_config(tmp_path, id2label={"1": "person", "2": "cat"})

    with pytest.raises(ConfigError, match=r"2 entries, but none for class 0; set teacher\.classes"):
        choose_class_names(folder, None)
    assert choose_class_names(folder, ["person", "cat"]) == ("person", "cat")


def test_names_in_the_job_must_be_one_for_each_class(tmp_path: Path) -> None:
    folder = write_config(tmp_path, id2label={"0": "LABEL_0", "1": "LABEL_1"})

    with pytest.raises(ConfigError, match="3 names for 2 classes; give one name for each class"):
        choose_class_names(folder, ["a", "b", "c"])


COCO_91 = ("N/A", "Person", "Traffic_Light", "dining-table", "tvmonitor", "HotDog", "Teddy Bear", "N/A")


@pytest.mark.parametrize(
    ("phrase", "name"),
    [
        ("a man", "Person"), ("the people", "Person"), ("two traffic lights", "Traffic_Light"),
        ("a stoplight", "Traffic_Light"), ("a table", "dining-table"), ("a dining table", "dining-table"),
        ("an old television", "tvmonitor"), ("the tv", "tvmonitor"), ("hot dogs", "HotDog"),
        ("a teddy bear", "Teddy Bear"), ("n a", None), ("N/A", None), ("n/a", None), ("a dream", None),
        ("a dog", None), ("a coffee table", None),
    ],
)  # fmt: skip
def test_names_in_other_forms_than_cocos_are_found_with_their_synonyms(phrase: str, name: str | None) -> None:
    names = tuple(None if one == "N/A" else one for one in COCO_91)

    found = ClassNames(names, reads_forms=True).find_class_of_last_words(phrase)

    assert (None if found is None else names[found]) == name


def test_a_class_of_several_things_is_found_by_each_and_an_ambiguous_word_by_none() -> None:
    names = [
        "Handbag/Satchel",
        "Moniter/TV",
        "car_(automobile)",
        "bow_(weapon)",
        "bow_(ribbon)",
        "Man",
        "Person",
    ]
    index = ClassNames(names, reads_forms=True)

    found = {
        phrase: None if (n := index.find_class_of_last_words(phrase)) is None else names[n]
        for phrase in (
            "a purse",
            "a satchel",
            "the television",
            "a red car",
            "a taxi",
            "a bow",
            "a man",
            "a woman",
        )
    }

    assert found == {
        "a purse": "Handbag/Satchel", "a satchel": "Handbag/Satchel", "the television": "Moniter/TV",
        "a red car": "car_(automobile)", "a taxi": "car_(automobile)", "a bow": None, "a man": "Man",
        "a woman": "Person",
    }  # fmt: skip


def test_an_onnx_model_keeps_the_words_that_it_always_had() -> None:
    assert ClassNames(["Person"]).find_class_of_last_words("a man") is None
    assert ClassNames(["Person"]).find_class_of_last_words("a person") == 0


_CONFIG = "teacher/detectors/directory/config.py"
_NAMES = "teacher/detectors/class_names.py"
MUTATIONS = (
    Mutation(
        _CONFIG,
        "model_type in OPEN_VOCABULARY | TEXT_DETECTORS",
        "model_type in TEXT_DETECTORS",
        "test_a_directory_is_a_detector_by_type_and_architecture",
    ),
    Mutation(
        _CONFIG,
        "model_type in OPEN_VOCABULARY | TEXT_DETECTORS",
        "model_type in OPEN_VOCABULARY",
        "test_a_directory_is_a_detector_by_type_and_architecture",
    ),
    Mutation(
        _CONFIG,
        "return any(str(name).endswith(_ARCHITECTURE) for name in architectures)",
        "return True",
        "test_a_directory_is_a_detector_by_type_and_architecture",
    ),
    Mutation(
        _CONFIG,
        "    if logits != classes + head.has_no_object:",
        "    if False:",
        "test_logits_that_do_not_fit_the_classes_end_the_run",
    ),
    Mutation(
        _CONFIG,
        "Head(has_no_object=logits == classes + 1)",
        "Head()",
        "test_a_head_is_read_by_model_type_and_width",
    ),
    Mutation(
        _CONFIG,
        "_UNNAMED.fullmatch(name) or _is_no_class(name)",
        "_is_no_class(name)",
        "test_a_model_that_names_no_classes_needs_them_in_the_job",
    ),
    Mutation(
        _CONFIG,
        "    return name.strip().casefold() in _NO_CLASS",
        "    return False",
        "test_names_are_in_the_order_of_the_outputs_and_placeholders_are_no_class",
    ),
    Mutation(
        _CONFIG,
        "    if missing is not None:",
        "    if False:",
        "test_names_with_a_gap_are_refused",
    ),
    Mutation(
        _CONFIG,
        "    if classes is not None and names != classes:",
        "    if False:",
        "test_names_in_the_job_must_be_one_for_each_class",
    ),
    Mutation(
        _NAMES,
        "for key, classes in found.items() if len(classes) == 1",
        "for key, classes in found.items()",
        "test_a_class_of_several_things_is_found_by_each_and_an_ambiguous_word_by_none",
    ),
    Mutation(
        _NAMES,
        "_find_usual_name(name) if reads_forms else name",
        "name",
        "test_names_in_other_forms_than_cocos_are_found_with_their_synonyms",
    ),
    Mutation(
        _NAMES,
        "_find_usual_name(name) if reads_forms else name",
        "_find_usual_name(name)",
        "test_an_onnx_model_keeps_the_words_that_it_always_had",
    ),
)
"""Each removes a guard. `python -m tests.mutations` shows that the named test fails then."""
