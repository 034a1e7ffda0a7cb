"""`teacher bench` measures any teacher on the samples of a shard, and counts what it wastes."""

import json
import tarfile
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pipelines.cli import build_app
from pipelines.ground_image.bench import PARTS, count_blank_rows, measure_padding
from schemas.labeler import PreparedSample
from tests.teacher.huggingface.tiny_models import save_grounding_dino


def run_cli(*words):
    return CliRunner().invoke(build_app(), list(words))


def write_shard(path, *captions):
    with tarfile.open(path, "w") as archive:
        for number, caption in enumerate(captions):
            image = BytesIO()
            pixels = np.random.default_rng(number).integers(
                0, 256, (120, 160 + 40 * number, 3), dtype=np.uint8
            )
            Image.fromarray(pixels).save(image, "JPEG")
            for name, data in ((f"{number}.jpg", image.getvalue()), (f"{number}.txt", caption.encode())):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, BytesIO(data))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_grounding_dino(tmp_path_factory.mktemp("bench") / "model")


def test_each_part_is_measured_and_samples_that_cannot_be_asked_are_counted(model, tmp_path):
    shard = write_shard(tmp_path / "0.tar", "a red dog and two cats", "a big car", "12345")

    answer = run_cli("teacher", "bench", str(model), str(shard), "--batch-size", "2", "--json")

    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)
    assert (found["images"], found["rejected"], found["batch_size"]) == (2, 1, 2)
    assert found["kind"] == "grounding-dino" and found["images_per_s"] > 0 and found["peak_memory_mib"] > 100
    assert list(found["parts"]) == list(PARTS) and sum(found["parts"].values()) == pytest.approx(1)
    assert 0 <= found["padding"] < 1 and 0 <= found["blank_rows"] < 1


def test_a_shard_without_a_usable_sample_is_an_error(model, tmp_path):
    answer = run_cli("teacher", "bench", str(model), str(write_shard(tmp_path / "0.tar", "12345")))

    assert answer.exit_code == 2 and "none of the first 1 samples" in answer.stderr


def test_blank_rows_fill_the_last_batch_of_each_bucket():
    rows = [(n, PreparedSample(bucket=(n // 3, 0), inputs=None)) for n in range(5)]  # buckets of 3 and 2

    assert count_blank_rows(rows, 4) == pytest.approx(3 / 8)
    assert count_blank_rows(rows, 1) == 0


def test_padding_is_the_share_that_no_image_fills():
    rows = [(0, PreparedSample((1,), None, filled=0.5)), (1, PreparedSample((1,), None, filled=1.0))]

    assert measure_padding(rows) == pytest.approx(0.25)
    assert measure_padding([(0, PreparedSample((1,), None))]) is None
