"""Gold images without a file name: measured where no name is needed, refused with the image's id where one is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.exchange.gold.images import open_images
from pipelines.exchange.gold.options import ImportOptions
from pipelines.exchange.gold.records import require_file_name
from schemas.errors import ConfigError
from student.evaluate.gold.images import evaluation_images
from student.evaluate.gold.load import read_gold
from student.evaluate.predictors import make_sample
from student.evaluate.run import evaluate
from student.gold.account import RecordError
from student.gold.coco.types import GoldImage
from student.gold.file_names import find_file_name
from tests.engine.worlds import write_shard

URL = "http://images.cocodataset.org/val2017/one.jpg"
NO_NAME = r"^image 7 has neither file_name nor coco_url; add file_name$"
WriteGold = Callable[..., Path]


@pytest.fixture
def write_gold(tmp_path: Path) -> WriteGold:
    """Return a function that writes a COCO file with one image, of the given fields, and its box."""

    def write(**image: Any) -> Path:
        held = {
            "images": [{"id": 7, **image}],
            "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [0, 0, 20, 20], "area": 400}],
            "categories": [{"id": 1, "name": "cat"}],
        }
        (tmp_path / "gold.json").write_text(json.dumps(held))
        return tmp_path / "gold.json"

    return write


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with one.jpg of 64 x 48 pixels."""
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(tmp_path / "images/one.jpg")
    return tmp_path / "images"


def test_an_image_without_a_name_is_refused_when_a_folder_is_read(
    write_gold: WriteGold, images: Path
) -> None:
    records = read_gold(write_gold())["images"]

    with pytest.raises(ConfigError, match=NO_NAME):
        list(evaluation_images(str(images), records))


def test_an_image_without_a_name_is_refused_when_shards_are_read(
    write_gold: WriteGold, tmp_path: Path
) -> None:
    shard = write_shard(tmp_path / "one.tar", ["a cat"])
    records = read_gold(write_gold())["images"]

    with pytest.raises(ConfigError, match=NO_NAME):
        list(evaluation_images(str(shard), records))


def test_a_key_map_of_ids_needs_no_file_names(write_gold: WriteGold, tmp_path: Path) -> None:
    write_shard(tmp_path / "one.tar", ["a cat"])
    (tmp_path / "keys.csv").write_text("shard,key,coco_image_id\none.tar,00000,7\n")
    records = read_gold(write_gold())["images"]

    (image,) = evaluation_images(str(tmp_path), records, tmp_path / "keys.csv")

    assert image.record["id"] == 7
    assert make_sample(image, "cat", ()).key == "image 7"


def test_results_are_measured_without_file_names(write_gold: WriteGold, tmp_path: Path) -> None:
    results = [{"image_id": 7, "category_id": 1, "bbox": [0, 0, 20, 20], "score": 0.9}]
    (tmp_path / "results.json").write_text(json.dumps(results))

    assert evaluate(tmp_path / "results.json", write_gold(), bootstrap=0)["AP"] == pytest.approx(1)


def test_another_shape_is_refused_where_the_gold_has_one_side_alone(images: Path) -> None:
    records: list[GoldImage] = [{"id": 7, "file_name": "one.jpg", "height": 10}]

    with pytest.raises(ConfigError, match="stored 64x48, gold unknownx10: a crop or another picture"):
        list(evaluation_images(str(images), records))


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ({"file_name": "a/b.jpg", "coco_url": URL}, "a/b.jpg"),
        ({"coco_url": URL}, "val2017/one.jpg"),
        ({"file_name": "", "coco_url": URL}, "val2017/one.jpg"),
        ({"file_name": 7, "coco_url": URL}, "val2017/one.jpg"),
        ({"file_name": 7}, None),
        ({"coco_url": "one.jpg"}, None),
        ({}, None),
    ],
)
def test_import_and_evaluation_find_the_same_name(
    tmp_path: Path, image: dict[str, Any], name: str | None, write_gold: WriteGold
) -> None:
    options = ImportOptions(images=open_images(str(tmp_path)))
    assert find_file_name(image) == name
    assert read_gold(write_gold(**image))["images"][0].get("file_name") == name
    if name is None:
        with pytest.raises(RecordError, match="field_missing"):
            require_file_name(image, options)
    else:
        assert require_file_name(image, options) == name
