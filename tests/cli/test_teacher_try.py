"""`teacher try`: any kind of teacher, one image, a table of boxes and a picture that replaces no file of the user."""

from __future__ import annotations

import itertools
import json
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from spacy.language import Language
from typer.testing import CliRunner, Result

import groundswell as gs
from pipelines.cli import build_app
from teacher.registry import TEACHERS
from teacher.settings import PhraseSettings
from tests.mutations import Mutation
from tests.teacher.conftest import glip_folder  # noqa: F401 - a fixture
from tests.teacher.huggingface.tiny_detectors import save_detector
from tests.teacher.huggingface.tiny_models import save_grounding_dino
from tests.teacher.huggingface.tiny_omdet_sam import save_omdet_turbo, save_sam3
from tests.teacher.huggingface.tiny_owl import save_owl
from tests.teacher.tiny_onnx import ANCHORS, write_yolox

NUMBERS = itertools.count()
TRIAL, PLACE = "pipelines/ground_image/trial.py", "pipelines/config/output_place.py"
MUTATIONS = (
    Mutation(
        TRIAL, ", is_own=_is_own_picture)", ", is_own=lambda path: True)", "test_no_picture_of_another_origin"
    ),
    Mutation(TRIAL, ", is_own=_is_own_picture)", ")", "test_an_earlier_picture_is_replaced_on_request_only"),
    Mutation(TRIAL, "reads=(image, model)", "reads=()", "test_no_picture_of_another_origin"),
    Mutation(TRIAL, 'if to.suffix.lower() != ".png":', "if False:", "test_a_mistake_is_one_message"),
    Mutation(TRIAL, "if (caption is None) == (not phrases):", "if False:", "test_a_mistake_is_one_message"),
    Mutation(PLACE, "and not is_own(place):", ":", "test_an_earlier_picture_is_replaced_on_request_only"),
    Mutation(TRIAL, "return asked + [", "return asked; [", "test_a_phrase_that_is_not_asked_is_listed"),
    Mutation(
        "pipelines/ground_image/teacher.py",
        "next((name for name in values if name not in entry.settings_class.model_fields), None)",
        "None",
        "test_a_mistake_is_one_message",
    ),
)


class LeftHalf:
    """A class of the user, in the documented form."""

    digest = "left half, version 1"
    score_kind = "left_half.share"

    def __init__(self, model: str, **options: Any) -> None:
        self.score = options.get("score", 0.9)

    def find(self, image_rgb_u8: np.ndarray, phrases: list[str]) -> Iterator[Any]:
        height, width = image_rgb_u8.shape[:2]
        for number in range(len(phrases)):
            yield number, (0, 0, width / 2, height), self.score


@pytest.fixture(scope="session")
def dino_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_grounding_dino(tmp_path_factory.mktemp("dino"))


@pytest.fixture(scope="module", autouse=True)
def one_pipeline() -> Iterator[None]:
    """Load the phrase pipeline once: it takes seconds, and no test here is about it."""
    from teacher.phrases import finder

    nlp = finder.load_bundled()
    tokenizer = nlp.tokenizer

    def load_again() -> Language:
        nlp.tokenizer = tokenizer
        return nlp

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finder, "load_bundled", load_again)
        yield


@pytest.fixture
def user_kind(monkeypatch: pytest.MonkeyPatch) -> str:
    module = types.ModuleType(f"user_teacher_{next(NUMBERS)}")
    module.LeftHalf = LeftHalf  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return f"{module.__name__}:LeftHalf"


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write an image, and work in another folder."""
    pixels = np.random.default_rng(0).integers(0, 255, (90, 140, 3), dtype=np.uint8)
    path = tmp_path / "photos" / "cat.png"
    path.parent.mkdir()
    Image.fromarray(pixels).save(path)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return path


def call(*words: object) -> Result:
    return CliRunner().invoke(build_app(), ["teacher", "try", *map(str, words)])


def ask(*words: object) -> dict[str, Any]:
    result = call(*words, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert isinstance(answer, dict)
    return answer


def boxes_of(answer: dict[str, Any]) -> list[tuple[str, list[dict[str, float]]]]:
    return [(phrase["text"], phrase["boxes"]) for phrase in answer["phrases"]]


def expected_boxes(teacher: gs.GroundingTeacher, image: Path, caption: str, **more: Any) -> list[Any]:
    row = teacher.ground(image, caption, **more)
    names = ("score", "x0", "y0", "x1", "y1")
    return [
        (
            phrase["text"],
            sorted(
                (
                    {name: region[name] for name in names}
                    for region in row["regions"]
                    if region["phrase"] == number
                ),
                key=lambda box: -box["score"],
            ),
        )
        for number, phrase in enumerate(row["phrases"])
    ]


def test_a_caption_gives_the_boxes_of_the_python_interface(image: Path, glip_folder: Path) -> None:  # noqa: F811
    caption = "a red circle and a blue star"

    answer = ask(glip_folder, image, caption, "--device", "cpu")

    teacher = gs.load_teacher(glip_folder, device="cpu")
    assert boxes_of(answer) == expected_boxes(teacher, image, caption)
    assert sum(len(boxes) for _, boxes in boxes_of(answer)) > 0
    assert (answer["kind"], answer["score_kind"]) == ("glip", teacher.labeler.score_kind)
    assert (answer["width"], answer["height"], answer["min_score"]) == (
        140,
        90,
        TEACHERS.load("glip").min_score,
    )


def test_every_kind_is_recognized_or_named(
    image: Path, dino_folder: Path, user_kind: str, tmp_path: Path
) -> None:
    phrases = ["a red dog", "car", "[SEP] <|endoftext|>"]

    dino = ask(dino_folder, image, "--phrases", ", ".join(phrases), "--min-score", 0, "--to", "dino.png")
    own = ask("", image, "--phrases", "dog,car", "--kind", user_kind, "--set", "options={score: 0.5}")

    teacher = gs.load_teacher(dino_folder, min_score=0, phrases=PhraseSettings(given=phrases), device="cpu")
    caption, spans = "a red dog. car. [SEP] <|endoftext|>", [(0, 9), (11, 14), (16, 35)]
    assert dino["caption"] == caption and dino["kind"] == "grounding-dino"
    assert boxes_of(dino) == expected_boxes(teacher, image, caption, spans=spans)
    assert [text for text, _ in boxes_of(dino)] == phrases
    half = {"score": 0.5, "x0": 0.0, "y0": 0.0, "x1": 70.0, "y1": 90.0}
    assert boxes_of(own) == [("dog", [half]), ("car", [half])]
    assert own["score_kind"] == LeftHalf.score_kind and Path(own["picture"]).name == "cat-boxes.png"


def make_yolox(folder: Path) -> Path:
    """Write a detector that sees a person in the middle of every image."""
    answer = np.zeros((ANCHORS, 85), np.float32)
    answer[-1] = (0.5, 0.5, np.log(0.5), np.log(0.5), 0.9, 0.9, *[0.0] * 79)
    folder.mkdir()
    return write_yolox(folder / "m.onnx", answer)


MODELS: dict[str, tuple[str, Callable[[Path], Path] | None]] = {
    "detector": ("detector", make_yolox),
    "detector directory": ("detector", lambda folder: save_detector("rt_detr", folder)),
    "glip": ("glip", None),
    "grounding-dino": ("grounding-dino", save_grounding_dino),
    "mm-grounding-dino": ("mm-grounding-dino", lambda folder: save_grounding_dino(folder, mm=True)),
    "omdet-turbo": ("omdet-turbo", save_omdet_turbo),
    "owlv2": ("owlv2", lambda folder: save_owl(folder, version=2)),
    "owlvit": ("owlvit", lambda folder: save_owl(folder, version=1)),
    "sam3": ("sam3", save_sam3),
}
"""Tiny models of every kind but `vlm`, which needs an endpoint. None: a fixture makes it."""


def test_every_kind_has_a_model_here() -> None:
    assert {kind for kind, _ in MODELS.values()} == TEACHERS.load_all().keys() - {"vlm"}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_each_kind_is_recognized_and_answers(
    name: str,
    image: Path,
    tmp_path: Path,
    glip_folder: Path,  # noqa: F811
) -> None:
    kind, save = MODELS[name]
    model = glip_folder if save is None else save(tmp_path / "m")
    phrases = ["a circle", "a red star"] if save is None else ["a person", "a red cat"]
    words = ["--phrases", ", ".join(phrases), "--min-score", 0]

    answer = ask(model, image, *words)
    named = ask(model, image, *words, "--kind", kind, "--set", "device=cpu", "--overwrite")

    assert answer["kind"] == kind and Path(answer["picture"]).is_file()
    assert [text for text, _ in boxes_of(answer)] == phrases
    assert [one["code"] for one in answer["phrases"]] == [None, None]
    boxes = [box for _, own in boxes_of(answer) for box in own]
    assert boxes and all(
        0 <= box["x0"] < box["x1"] <= 140 and 0 <= box["y0"] < box["y1"] <= 90 for box in boxes
    )
    assert boxes_of(named) == boxes_of(answer)


def test_the_table_lists_each_box_and_phrases_without_one(image: Path, user_kind: str) -> None:
    words = ("", image, "--kind", user_kind, "--phrases", "dog, red car")

    shown = call(*words)
    empty = call(*words, "--min-score", 0.95, "--overwrite")

    assert shown.exit_code == 0, shown.output
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert ["phrase", "score", "x0", "y0", "x1", "y1"] in lines
    assert ["dog", "0.900", "0.0", "0.0", "70.0", "90.0"] in lines
    assert ["red", "car", "0.900", "0.0", "0.0", "70.0", "90.0"] in lines
    assert lines[-1] == ["picture:", "cat-boxes.png"]
    assert "dog (no box)" in empty.stdout and "0.900" not in empty.stdout


def test_a_phrase_that_is_not_asked_is_listed_with_the_reason(image: Path, glip_folder: Path) -> None:  # noqa: F811
    long = " ".join(["red"] * 40)

    answer = ask(glip_folder, image, "--phrases", f"star,{long}")
    by_caption = ask(glip_folder, image, "a stock photo of a star", "--overwrite")

    assert [(one["text"], one["code"]) for one in answer["phrases"]] == [
        ("star", None),
        (long, "PH_TOO_LONG"),
    ]
    assert ("a stock photo", "PH_IMAGE_WORD") in [(one["text"], one["code"]) for one in by_caption["phrases"]]
    assert "not asked" in call(glip_folder, image, "--phrases", long, "--overwrite").stdout


def test_the_picture_shows_the_boxes_on_the_upright_image(
    tmp_path: Path, image: Path, user_kind: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = tmp_path / "turned.jpg"
    Image.open(image).convert("RGB").save(turned, exif=exif)

    answer = ask("", turned, "--kind", user_kind, "--phrases", "dog", "--to", tmp_path / "sub" / "b.PNG")

    assert (answer["width"], answer["height"]) == (90, 140)
    assert answer["phrases"][0]["boxes"][0]["x1"] == 45
    with Image.open(answer["picture"]) as picture:
        assert picture.format == "PNG" and picture.width == 1000 and picture.height > 1000
    row = gs.load_teacher("", kind=user_kind, phrases=PhraseSettings(given=["dog"])).ground(
        turned, "dog", spans=[(0, 3)]
    )
    assert gs.draw(row).tobytes() == Image.open(answer["picture"]).tobytes()


def test_an_earlier_picture_is_replaced_on_request_only(image: Path, user_kind: str) -> None:
    words = ("", image, "--kind", user_kind, "--phrases", "dog")
    first = ask(*words)
    data = Path(first["picture"]).read_bytes()

    again = call(*words, "--min-score", 0.95)
    assert again.exit_code == 5 and "already exists" in again.stderr and "--overwrite" in again.stderr
    assert Path(first["picture"]).read_bytes() == data
    assert call(*words, "--min-score", 0.95, "--overwrite").exit_code == 0
    assert Path(first["picture"]).read_bytes() != data


def test_no_picture_of_another_origin_is_replaced(image: Path, user_kind: str) -> None:
    words = ("", image, "--kind", user_kind, "--phrases", "dog", "--overwrite", "--to")
    before = image.read_bytes()
    other = Path("other.png")
    other.write_bytes(before)
    Path("broken.png").write_bytes(b"no image")

    assert call(*words, image).exit_code == 2
    assert call(*words, other).exit_code == 5 and call(*words, "broken.png").exit_code == 5
    assert (
        other.read_bytes() == image.read_bytes() == before and Path("broken.png").read_bytes() == b"no image"
    )


def bad_image(folder: Path) -> Path:
    path = folder / "bad.jpg"
    path.write_bytes(b"<html>")
    return path


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (["MODEL", "IMAGE"], 2, "expected a caption or --phrases"),
        (["MODEL", "IMAGE", "a dog", "--phrases", "cat"], 2, "not both"),
        (["MODEL", "IMAGE", "--phrases", " , "], 2, "expected a caption or --phrases"),
        (["MODEL", "IMAGE", "--phrases", "dog, dog"], 2, "'dog' occurs twice"),
        (["MODEL", "IMAGE", "?!"], 2, "CAP_EMPTY"),
        (["MODEL", "IMAGE", b"caf\xe9".decode("utf-8", "surrogateescape")], 2, "CAP_UTF8"),
        (["MODEL", "none.jpg", "a dog"], 4, "none.jpg"),
        (["MODEL", "BAD", "a dog"], 2, "IMG_FORMAT, the bytes are not JPEG"),
        (["no-model", "IMAGE", "a dog"], 4, "no-model"),
        (["MODEL", "IMAGE", "a dog", "--kind", "gilp"], 2, "gilp"),
        (["MODEL", "IMAGE", "a dog", "--set", "promt=auto"], 2, "promt"),
        (["MODEL", "IMAGE", "a dog", "--set", "prompt"], 2, "expected NAME=VALUE"),
        (["MODEL", "IMAGE", "a dog", "--device", "tpu"], 2, "tpu"),
        (["x", "IMAGE", "a dog", "--kind", "USER", "--device", "cpu"], 2, "no such setting"),
        (["MODEL", "IMAGE", "a dog", "--to", "boxes.jpg"], 2, "ends in .png"),
    ],
)
def test_a_mistake_is_one_message_and_writes_nothing(
    words: list[str],
    code: int,
    named: str,
    image: Path,
    glip_folder: Path,  # noqa: F811
    tmp_path: Path,
    user_kind: str,
) -> None:
    places = {
        "MODEL": str(glip_folder),
        "IMAGE": str(image),
        "BAD": str(bad_image(tmp_path)),
        "USER": user_kind,
    }

    result = call(*(places.get(word, word) for word in words))

    assert result.exit_code == code, result.output
    assert (
        result.stderr.startswith("error: ")
        and named in result.stderr
        and len(result.stderr.splitlines()) == 1
    )
    assert result.stdout == "" and list(Path.cwd().iterdir()) == []


def test_a_teacher_that_fails_is_named_and_no_picture_is_left(image: Path, user_kind: str) -> None:
    class Broken(LeftHalf):
        def find(self, image_rgb_u8: np.ndarray, phrases: list[str]) -> Iterator[Any]:
            raise ValueError("not today")

    sys.modules[user_kind.split(":")[0]].Broken = Broken  # type: ignore[attr-defined]

    result = call("", image, "--kind", user_kind.replace("LeftHalf", "Broken"), "--phrases", "dog")

    assert result.exit_code == 1 and "the teacher failed on" in result.stderr and "not today" in result.stderr
    assert list(Path.cwd().iterdir()) == []


def test_the_help_names_the_options() -> None:
    text = CliRunner().invoke(build_app(), ["teacher", "try", "--help"]).stdout

    assert all(
        name in text
        for name in ("--phrases", "--kind", "--min-score", "--device", "--set", "--to", "--overwrite")
    )
    assert "Default: the floor of the kind" in " ".join(text.split())
