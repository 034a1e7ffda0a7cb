"""`evaluate` on real photographs and on results files."""

import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from schemas.errors import ConfigError, NotFoundError
from student.evaluate.gold.images import evaluation_images
from student.evaluate.gold.load import category_groups, gold_phrases
from student.evaluate.matching import NAMES
from student.evaluate.run import evaluate


def test_the_detector_on_the_originals_has_its_known_average_precision(shared_data):
    folder = shared_data / "real_gold"

    report = evaluate(
        shared_data / "real_teacher" / "yolox_nano.onnx",
        folder / "instances.json",
        folder / "images",
        bootstrap=20,
    )

    assert report["AP"] == pytest.approx(0.353, abs=0.005)
    assert report["images"] == {"gold": 97, "evaluated": 40}
    assert report["ci"]["AP"][0] < report["AP"] < report["ci"]["AP"][1]


def test_boxes_of_shard_copies_are_scaled_to_the_gold(shared_data):
    folder = shared_data / "real_gold"

    report = evaluate(
        shared_data / "real_teacher" / "yolox_nano.onnx",
        folder / "instances.json",
        shared_data / "real_web",
        key_map=folder / "web_key_map.csv",
        bootstrap=0,
    )

    assert report["AP"] >= 0.255 and report["images"]["evaluated"] == 97


def tiny_gold(tmp_path, **image):
    gold = {
        "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 20, **image}],
        "categories": [
            {"id": 3, "name": "cat", "frequency": "r"},
            {"id": 5, "name": "dog", "frequency": "f"},
        ],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [0, 0, 20, 10]}],
    }
    (tmp_path / "gold.json").write_text(json.dumps(gold))
    return tmp_path / "gold.json"


def test_a_results_file_needs_no_images_and_groups_follow_the_categories(tmp_path):
    gold = tiny_gold(tmp_path)
    results = [{"image_id": 1, "category_id": 3, "bbox": [0, 0, 20, 10], "score": 0.5}]
    (tmp_path / "results.json").write_text(json.dumps(results))

    report = evaluate(tmp_path / "results.json", gold)

    assert (
        round(report["AP"], 9) == round(report["groups"]["rare"]["AP"], 9) == 1
        and report["groups"]["frequent"]["AP"] == -1
    )
    assert set(NAMES) <= report["ci"].keys() and json.loads(json.dumps(report.data())) == report
    assert "rare" in report.text()


def test_a_broken_results_file_is_named_with_line_and_column(tmp_path):
    gold = tiny_gold(tmp_path)
    (tmp_path / "results.json").write_text("[{]")

    with pytest.raises(ConfigError, match=r"results.json:1:3"):
        evaluate(tmp_path / "results.json", gold)
    (tmp_path / "results.json").write_text('[{"image_id": 1}]')
    with pytest.raises(ConfigError, match="category_id"):
        evaluate(tmp_path / "results.json", gold)


def test_what_is_no_model_and_what_holds_no_images_is_said(tmp_path, shared_data):
    gold = tiny_gold(tmp_path)

    with pytest.raises(NotFoundError, match="nowhere"):
        evaluate(tmp_path / "nowhere", gold, tmp_path)
    with pytest.raises(ConfigError, match="--images"):
        evaluate(shared_data / "real_teacher" / "yolox_nano.onnx", gold)
    with pytest.raises(ConfigError, match="none of the 1 images"):
        evaluate(shared_data / "real_teacher" / "yolox_nano.onnx", gold, tmp_path)


def test_a_copy_of_another_shape_is_refused(tmp_path):
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "a.png")
    records = [{"id": 1, "file_name": "a.png", "width": 400, "height": 200}]

    with pytest.raises(ConfigError, match="crop or another picture.*; restore the image, or remove it"):
        list(evaluation_images(str(tmp_path), records))


def test_a_smaller_copy_is_scaled_per_axis(tmp_path):
    Image.fromarray(np.zeros((51, 100, 3), np.uint8)).save(tmp_path / "a.png")

    (image,) = evaluation_images(
        str(tmp_path), [{"id": 1, "file_name": "a.png", "width": 200, "height": 101}]
    )

    assert image.scale == pytest.approx((2, 101 / 51))


def test_gold_phrases_are_the_spans_that_annotations_name():
    gold = {
        "images": [{"id": 1, "caption": "a red cat, a dog"}, {"id": 2}],
        "categories": [{"id": 1, "name": "object"}],
        "annotations": [
            {"image_id": 1, "bbox": [0, 0, 5, 5], "tokens_positive": [[0, 9]]},
            {"image_id": 1, "bbox": [5, 5, 5, 5], "tokens_positive": [[0, 5], [6, 9]]},
            {"image_id": 1, "bbox": [1, 1, 2, 2], "tokens_positive": [[11, 16]], "iscrowd": 1},
            {"image_id": 2, "bbox": [1, 1, 2, 2], "tokens_positive": [[0, 3]]},
        ],
    }

    phrases, boxes = gold_phrases(gold)

    assert [phrase.text for phrase in phrases[1]] == ["a red cat"]
    assert boxes[1][0].tolist() == [[0, 0, 5, 5], [5, 5, 10, 10]]
    assert category_groups(gold, "frequency") == {}


def picture_bytes():
    sink = io.BytesIO()
    Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save(sink, "JPEG")
    return sink.getvalue()


def test_a_folder_of_parquet_shards_is_read_and_a_table_beside_images_or_tars_is_not(tmp_path):
    records = [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 20}]
    rows = {"key": ["a"], "caption": ["a cat"], "jpg": [picture_bytes()]}
    pq.write_table(pa.table(rows), tmp_path / "00000.parquet")
    assert [image.record["id"] for image in evaluation_images(str(tmp_path), records)] == [1]

    (tmp_path / "a.jpg").write_bytes(picture_bytes())
    pq.write_table(pa.table({"key": ["a"], "caption": ["a cat"]}), tmp_path / "00000.parquet")
    assert [image.record["id"] for image in evaluation_images(str(tmp_path), records)] == [1]
    write_tar(tmp_path / "00000.tar", "b")
    assert list(evaluation_images(str(tmp_path), records)) == []


def write_tar(path, key):
    with tarfile.open(path, "w") as tar:
        for name, data in ((f"{key}.jpg", picture_bytes()), (f"{key}.txt", b"a cat")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def test_a_stem_that_two_gold_images_share_names_neither(tmp_path):
    write_tar(tmp_path / "b.tar", "1")
    size = {"width": 40, "height": 20}
    both = [{"id": n, "file_name": name, **size} for n, name in enumerate(("a/1.jpg", "b/1.jpg"))]
    assert list(evaluation_images(str(tmp_path), both)) == []

    named = [*both, {"id": 7, "file_name": "b.tar/1", **size}]
    assert [image.record["id"] for image in evaluation_images(str(tmp_path), named)] == [7]


def test_a_category_with_the_id_zero_is_a_category(tmp_path, shared_data):
    gold = tiny_gold(tmp_path)
    coco = json.loads(gold.read_text())
    coco["categories"], coco["annotations"][0]["category_id"] = [{"id": 0, "name": "cat"}], 0
    gold.write_text(json.dumps(coco))
    Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save(tmp_path / "a.png")

    report = evaluate(shared_data / "real_teacher" / "yolox_nano.onnx", gold, tmp_path, bootstrap=0)

    assert report["images"]["evaluated"] == 1


@pytest.mark.parametrize(
    "bbox, score", [([0, 0, 5], 0.5), ([0, 0, float("nan"), 5], 0.5), (None, 0.5), ([0, 0, 5, 5], "high")]
)
def test_a_detection_without_four_finite_numbers_and_a_score_is_named(tmp_path, bbox, score):
    good = {"image_id": 1, "category_id": 3, "bbox": [0, 0, 20, 10], "score": 0.9}
    (tmp_path / "results.json").write_text(json.dumps([good, {**good, "bbox": bbox, "score": score}]))

    with pytest.raises(ConfigError, match=r"results\.json: detection 1 has bbox"):
        evaluate(tmp_path / "results.json", tiny_gold(tmp_path), bootstrap=0)
