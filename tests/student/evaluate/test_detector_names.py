"""A detector is scored by the names of its own classes; COCO's are assumed for nothing but 80 nameless ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from pipelines.cli import build_app
from tests.teacher.tiny_onnx import ANCHORS, SIDE, write_yolox

# The detector below always answers with this box and the last of its classes.
BOX = [8.0, 8.0, 16.0, 16.0]
NAMES = tuple(f"part {n}" for n in range(79)) + ("gear wheel",)


def yolox(folder: Path, classes: int, metadata: dict[str, str] | None = None) -> Path:
    """Return a model that always answers with BOX and the last of its classes."""
    answer = np.zeros((ANCHORS, 5 + classes), np.float32)
    # stride 32, one cell: the middle, half the side
    answer[-1, :5] = (0.5, 0.5, np.log(0.5), np.log(0.5), 1.0)
    answer[-1, -1] = 0.9
    return write_yolox(folder / "model.onnx", answer, metadata)


def gold(folder: Path, *names: str) -> Path:
    """One image in which the first category has a box where the detector always finds one."""
    Image.fromarray(np.zeros((SIDE, SIDE, 3), np.uint8)).save(folder / "a.png")
    held = {
        "images": [{"id": 1, "file_name": "a.png", "width": SIDE, "height": SIDE}],
        "categories": [{"id": n, "name": name} for n, name in enumerate(names, start=1)],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": BOX}],
    }
    (folder / "gold.json").write_text(json.dumps(held))
    return folder / "gold.json"


def run_evaluate(model: Path, path: Path, *more: object) -> Result:
    words = ["evaluate", model, "--gold", path, "--images", path.parent, "--json", "--no-progress", *more]
    return CliRunner().invoke(build_app(), [str(word) for word in words])


def ultralytics(names: tuple[str, ...]) -> str:
    return repr(dict(enumerate(names)))


@pytest.mark.parametrize(
    "metadata",
    [
        {"names": ultralytics(NAMES)},
        {"names": json.dumps(NAMES)},
        {"names": "".join(f"{number}: {name}\n" for number, name in enumerate(NAMES))},
        {"names": "names:\n" + "".join(f"- {name}\n" for name in NAMES)},
        {"names": "[" + ", ".join(NAMES) + "]"},
        {"names": "null", "classes": "80", "labels": ",".join(NAMES)},
    ],
    ids=["python literal", "json", "yaml object", "yaml list under names", "yaml in brackets", "commas"],
)
def test_a_model_of_80_other_classes_is_scored_by_the_names_in_its_metadata(
    tmp_path: Path, metadata: dict[str, str]
) -> None:
    answer = run_evaluate(yolox(tmp_path, 80, metadata), gold(tmp_path, "gear wheel", "screw"))

    assert answer.exit_code == 0
    report = json.loads(answer.stdout)
    assert report["AP"] == pytest.approx(1)
    assert report["classes"]["matched"] == 1 and report["classes"]["unmatched_categories"] == ["screw"]
    assert "79 of 80 classes are not a category of the gold" in answer.stderr and "part 0" in answer.stderr
    assert "1 of 2 categories of the gold are not a class of the model" in answer.stderr


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("model.names", "\n".join(NAMES) + "\n"),
        ("model.names.json", json.dumps(NAMES)),
        ("model.names.yaml", "names:\n" + "".join(f"  {n}: {name}\n" for n, name in enumerate(NAMES))),
        ("classes.txt", "\r\n".join(NAMES)),
    ],
)
def test_a_file_of_names_beside_the_model_or_given_names_its_classes(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / "away").mkdir()
    model, path = yolox(tmp_path, 80), gold(tmp_path, "gear wheel")
    for place, more in ((tmp_path / "away" / name, ["--names"]), (tmp_path / name, [])):
        place.write_text(text)
        answer = run_evaluate(model, path, *more, *([place] if more else []))
        assert answer.exit_code == 0
        assert json.loads(answer.stdout)["AP"] == pytest.approx(1)
        assert str(place) in answer.stderr


def test_names_that_are_given_count_before_those_of_the_model(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("nut\nbolt\n")
    model = yolox(tmp_path, 2, {"names": '["a", "b"]'})

    answer = run_evaluate(model, gold(tmp_path, "bolt"), "--names", tmp_path / "mine.txt")

    assert answer.exit_code == 0 and json.loads(answer.stdout)["AP"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("classes", "names", "says"),
    [
        (2, '["nut"]', "2 classes, but 1 names"),
        (3, None, "3 classes without names"),
        (2, '{"0": "nut", "2": "bolt"}', "class 1 has no name"),
        (2, '["nut", 7]', "class 1 has no name"),
        (2, "[nut", "not a list of names"),
    ],
)
def test_names_that_are_not_one_for_each_class_are_refused(
    tmp_path: Path, classes: int, names: str | None, says: str
) -> None:
    answer = run_evaluate(
        yolox(tmp_path, classes, {"names": names} if names else None), gold(tmp_path, "nut")
    )

    assert answer.exit_code == 2 and says in answer.stderr and answer.stdout == ""


def test_classes_of_which_none_is_in_the_gold_are_refused_with_both_lists(tmp_path: Path) -> None:
    answer = run_evaluate(yolox(tmp_path, 80), gold(tmp_path, "gear wheel", "screw"))

    assert answer.exit_code == 2 and answer.stdout == ""
    assert "person, bicycle, car" in answer.stderr and "gear wheel, screw" in answer.stderr
    assert "--names FILE" in answer.stderr


def test_cocos_names_are_assumed_aloud_and_only_for_80_classes(tmp_path: Path) -> None:
    answer = run_evaluate(yolox(tmp_path, 80), gold(tmp_path, "toothbrush"))

    assert json.loads(answer.stdout)["AP"] == pytest.approx(1)
    assert "COCO's 80 names, assumed since nothing names its classes" in answer.stderr


def test_names_match_by_case_blanks_and_vocs_words_and_are_counted(tmp_path: Path) -> None:
    names = ["Person", "pottedplant", "tvmonitor", "dog"]
    model = yolox(tmp_path, 4, {"names": json.dumps(["person", "potted plant", "dog", "tv"])})

    answer = run_evaluate(
        model, gold(tmp_path, "tvmonitor", *[name for name in names if name != "tvmonitor"])
    )

    assert answer.exit_code == 0
    assert json.loads(answer.stdout)["AP"] == pytest.approx(1)
    assert json.loads(answer.stdout)["classes"] | {"names": ""} == {
        "names": "",
        "matched": 4,
        "unmatched": [],
        "unmatched_categories": [],
    }
    assert "3 classes match by case, blanks or synonym: person = Person" in answer.stderr


def test_categories_that_differ_by_case_alone_are_not_taken_for_each_other(tmp_path: Path) -> None:
    model = yolox(tmp_path, 2, {"names": '["other", "mug"]'})

    answer = run_evaluate(model, gold(tmp_path, "mug", "Mug"))

    report: dict[str, Any] = json.loads(answer.stdout)
    assert report["AP"] == pytest.approx(1) and report["classes"]["unmatched_categories"] == ["Mug"]
    assert run_evaluate(yolox(tmp_path, 1, {"names": '["MUG"]'}), gold(tmp_path, "mug", "Mug")).exit_code == 2


def test_names_are_refused_for_what_is_no_detector(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("[]")

    answer = run_evaluate(tmp_path / "results.json", gold(tmp_path, "mug"), "--names", tmp_path / "mine.txt")

    assert answer.exit_code == 2 and "takes no --names" in answer.stderr
