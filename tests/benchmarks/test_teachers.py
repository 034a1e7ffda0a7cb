"""The programs around teachers run on a tiny model: speed beside transformers' own ways, and published boxes."""

from __future__ import annotations

import json
import shutil
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import published_checkpoints, teachers_sizes, teachers_speed
from teacher.factories import make_labeler
from tests.teacher.huggingface.tiny_models import save_grounding_dino

Printed = pytest.CaptureFixture[str]
PHRASES = ["a red dog", "two cats"]


def draw(seed: int = 0, height: int = 120, width: int = 160) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_photos(folder: Path, count: int) -> Path:
    """Write a tar of pictures, each with a caption of four phrases."""
    picture = BytesIO()
    Image.fromarray(draw()).save(picture, "JPEG")
    with tarfile.open(folder / "00000.tar", "w") as archive:
        for number in range(count):
            caption = b"A red dog and two cats near a small car with a man."
            for name, data in ((f"{number}.jpg", picture.getvalue()), (f"{number}.txt", caption)):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, BytesIO(data))
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path, 1)


def test_the_labeler_is_measured_beside_the_pipeline_and_batches(photos: Path, capsys: Printed) -> None:
    to = photos / "figures.json"

    teachers_speed.main(
        ["--tiny", "--photos", str(photos), "--images", "1", "--rounds", "1", "--to", str(to)]
    )

    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
    cells = {row.split("|")[1].strip(): row.split("|")[3].strip() for row in rows}
    assert list(cells) == ["pipeline", "batched", "labeler"] and cells["labeler"] == "1.00"
    figures = json.loads(to.read_text())
    assert figures["images"] == 1 and all(min(each) > 0 for each in figures["images_per_s"].values())


def test_size_and_speed_of_a_model_are_added_to_the_file(tmp_path: Path, capsys: Printed) -> None:
    photos = write_photos(tmp_path, 2)
    to = tmp_path / "sizes.json"
    to.write_text(json.dumps({"models": {"other": {}}}))

    teachers_sizes.main(["tiny", "--photos", str(photos), "--images", "1", "--to", str(to)])

    stored = json.loads(to.read_text())["models"]
    assert list(stored) == ["other", "tiny"]
    figures = stored["tiny"]
    assert 4 * figures["parameters"] <= 1e9 * figures["weights_gb"] < 4 * figures["parameters"] + 1e5
    assert 0.3 < figures["memory_gb"] < 8 and figures["images_per_s"] > 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"| tiny | {' | '.join(teachers_sizes.format_figures(figures))} |"


def test_a_model_that_is_not_known_is_named(capsys: Printed) -> None:
    with pytest.raises(SystemExit):
        teachers_sizes.main(["Grounding DINO huge"])
    assert "'Grounding DINO huge' is not one of Grounding DINO tiny" in capsys.readouterr().err


@pytest.fixture(scope="module")
def documentation(tmp_path_factory) -> Path:
    """What a documentation would print about a tiny model and a picture."""
    folder = tmp_path_factory.mktemp("published")
    model = save_grounding_dino(folder / "model")
    image = draw()
    Image.fromarray(image).save(folder / "image.png")
    labeler = make_labeler({"kind": "grounding-dino", "model": str(model)}, 1, 0.1)
    sample = published_checkpoints.make_sample(image, PHRASES)
    (regions,) = labeler.label([labeler.prepare(sample, image)])
    best = max(regions, key=lambda region: region.score)
    expected = {
        "image": (folder / "image.png").as_uri(),
        "tolerance": {"score": 0.01, "pixels": 1.0},
        "checkpoints": [
            {
                "kind": "grounding-dino",
                "model": str(model),
                "phrases": PHRASES,
                "boxes": [[PHRASES[best.phrase], best.score, [best.x0, best.y0, best.x1, best.y1]]],
            }
        ],
    }
    (folder / "expected.json").write_text(json.dumps(expected))
    return folder / "expected.json"


def test_a_published_box_that_we_find_is_ok(documentation: Path, capsys: Printed) -> None:
    assert published_checkpoints.main(["--expected", str(documentation)]) == 0
    assert "  ok " in capsys.readouterr().out


def test_a_published_box_that_we_do_not_find_fails_the_check(
    documentation: Path, tmp_path: Path, capsys: Printed
) -> None:
    expected = json.loads(documentation.read_text())
    expected["checkpoints"][0]["boxes"][0][1] -= 0.2
    (tmp_path / "other.json").write_text(json.dumps(expected))

    assert published_checkpoints.main(["--expected", str(tmp_path / "other.json")]) == 1
    assert "DIFFERS" in capsys.readouterr().out


def test_a_model_that_cannot_be_loaded_is_named_and_the_others_are_compared(
    documentation: Path, tmp_path: Path, capsys: Printed
) -> None:
    expected = json.loads(documentation.read_text())
    good = expected["checkpoints"][0]
    broken = tmp_path / "broken"
    shutil.copytree(good["model"], broken)
    (broken / "model.safetensors").unlink()
    expected["checkpoints"] = [{**good, "model": str(broken)}, good]
    (tmp_path / "other.json").write_text(json.dumps(expected))

    assert published_checkpoints.main(["--expected", str(tmp_path / "other.json")]) == 1
    shown = capsys.readouterr().out
    assert "NOT COMPARED: " in shown and "  ok " in shown
    assert shown.splitlines()[-1] == f"1 of 2 models were not compared: {broken}"


def test_every_expected_checkpoint_names_a_kind_and_phrases_of_its_boxes() -> None:
    expected = json.loads(published_checkpoints.EXPECTED.read_text())

    assert "transformers" in expected["source"] and len(expected["checkpoints"]) >= 7
    for one in expected["checkpoints"]:
        assert {text for text, _, _ in one["boxes"]} <= set(one["phrases"])
