"""The programs around teachers run on a tiny model: speed beside transformers' own ways, and published boxes."""

from __future__ import annotations

import json
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import published_checkpoints, teachers_speed
from teacher.factories import make_labeler
from tests.teacher.huggingface.tiny_models import save_grounding_dino

Printed = pytest.CaptureFixture[str]
PHRASES = ["a red dog", "two cats"]


def draw(seed: int = 0, height: int = 120, width: int = 160) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A tar with one picture and a caption of four phrases."""
    picture = BytesIO()
    Image.fromarray(draw()).save(picture, "JPEG")
    members = {"0.jpg": picture.getvalue(), "0.txt": b"A red dog and two cats near a small car with a man."}
    with tarfile.open(tmp_path / "00000.tar", "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, BytesIO(data))
    return tmp_path


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


def test_every_expected_checkpoint_names_a_kind_and_phrases_of_its_boxes() -> None:
    expected = json.loads(published_checkpoints.EXPECTED.read_text())

    assert "transformers" in expected["source"] and len(expected["checkpoints"]) >= 7
    for one in expected["checkpoints"]:
        assert {text for text, _, _ in one["boxes"]} <= set(one["phrases"])
