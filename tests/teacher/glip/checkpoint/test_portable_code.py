"""A saved directory is a model of Hugging Face outside this project: its own code loads it and gives the same boxes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

import teacher
from schemas import PACKAGES
from teacher.models.glip import GlipForGrounding, GlipProcessor
from teacher.models.glip.checkpoint import portable_code
from teacher.models.glip.checkpoint.portable_code import write_code
from tests.mutations import Mutation

LABELS = ["a red circle", "two blue star"]
PROGRAM = """
import importlib.abc, json, sys, torch
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in ("groundswell", "teacher", "schemas", "engine", "student", "pipelines"):
            raise ImportError(f"{name} is not installed here")
sys.meta_path.insert(0, Blocker())
from PIL import Image
from transformers import AutoModel, AutoModelForZeroShotObjectDetection, AutoProcessor, pipeline
folder, picture = sys.argv[1:]
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
model = AutoModelForZeroShotObjectDetection.from_pretrained(folder, trust_remote_code=True).eval()
image = Image.open(picture)
labels = ["a red circle", "two blue star"]
inputs = processor(images=image, text=[labels])
with torch.inference_mode():
    outputs = model(**inputs)
found = processor.post_process_labels(outputs, inputs, [labels], [(image.height, image.width)])[0]
ours = [name for name in sys.modules if name.split(".")[0] in ("teacher", "schemas", "groundswell")]
base = type(AutoModel.from_pretrained(folder, trust_remote_code=True)).__name__
detector = pipeline("zero-shot-object-detection", model=folder, device="cpu", trust_remote_code=True)
alone = detector(image, candidate_labels=labels[:1], threshold=0.05)
print(json.dumps([found["boxes"].tolist(), found["text_labels"], ours, base, alone]))
"""
MUTATIONS = (
    Mutation(
        "teacher/models/glip/processing.py",
        "            if (count := self.token_count(one)) > (text_width or self.max_tokens):",
        "            if False and (count := self.token_count(one)):",
        "test_a_text_that_is_too_long_is_refused_not_cut",
    ),
    Mutation(
        "teacher/models/glip/images/steps.py",
        'return Image.fromarray(gray).convert("RGB")',
        'return picture.convert("RGB")',
        "test_sixteen_bits_are_scaled_as_the_engine_scales_them",
    ),
)


@pytest.fixture(scope="module")
def folder(glip_folder, tmp_path_factory):
    """A copy of the tiny model with its code."""
    place = tmp_path_factory.mktemp("portable") / "model"
    shutil.copytree(glip_folder, place)
    write_code(place)
    return place


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)).save(path)
    return path


def run_outside(program, *arguments, cwd, cache):
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(cache), "PYTHONPATH": ""}
    return subprocess.run(
        [sys.executable, "-P", "-c", program, *map(str, arguments)],
        capture_output=True, text=True, cwd=cwd, env=environment,
    )  # fmt: skip


def test_a_plain_environment_loads_the_directory_with_its_own_code(folder, picture, tmp_path):
    answer = run_outside(PROGRAM, folder, picture, cwd=tmp_path, cache=tmp_path / "home")

    assert answer.returncode == 0, answer.stderr[-2000:]
    boxes, texts, ours, base, alone = json.loads(answer.stdout)
    assert ours == [] and base == "GlipModel"
    model = GlipForGrounding.from_pretrained(folder, local_files_only=True).eval()
    processor = GlipProcessor.from_pretrained(folder, local_files_only=True)
    inputs = processor(images=Image.open(picture), text=[LABELS])
    with torch.inference_mode():
        outputs = model(**inputs)
    found = processor.post_process_labels(outputs, inputs, [LABELS], [(96, 128)])[0]
    assert len(boxes) > 0 and set(texts) <= set(LABELS) and texts == found["text_labels"]
    np.testing.assert_allclose(boxes, found["boxes"].numpy(), atol=1e-3)
    inputs = processor(images=Image.open(picture), text=[LABELS[:1]])
    with torch.inference_mode():
        outputs = model(**inputs)
    found = processor.post_process_labels(outputs, inputs, [LABELS[:1]], [(96, 128)])[0]
    assert [one["label"] for one in alone] == found["text_labels"] != []
    np.testing.assert_allclose([one["score"] for one in alone], found["scores"].numpy(), atol=1e-5)
    pixels = [list(one["box"].values()) for one in alone]  # whole pixels, cut and not rounded
    assert ((found["boxes"].numpy() - pixels > -1e-3) & (found["boxes"].numpy() - pixels < 1 + 1e-3)).all()


def test_without_trust_the_processor_is_an_error_and_never_a_bare_tokenizer(folder, tmp_path):
    program = "import sys; from transformers import AutoProcessor; AutoProcessor.from_pretrained(sys.argv[1])"

    answer = run_outside(program, folder, cwd=tmp_path, cache=tmp_path / "home")

    assert answer.returncode != 0 and "trust_remote_code" in answer.stderr


def test_the_code_has_no_import_of_our_packages_and_names_its_license(folder):
    for path in folder.glob("*.py"):
        text = path.read_text()
        assert text.startswith("# From Groundswell, Apache-2.0")
        assert "from teacher" not in text and "from schemas" not in text


def test_the_code_is_the_same_where_all_packages_are_installed_in_one_folder(folder, tmp_path):
    """As after `pip install .`: other packages lie beside ours, and none of them is copied."""
    site, other = tmp_path / "site", tmp_path / "model"
    site.mkdir()
    for name in PACKAGES:
        (site / name).symlink_to(Path(teacher.__file__).parents[1] / name)
    (site / "transformers").symlink_to(Path(transformers.__file__).parent)
    shutil.copytree(folder, other, ignore=shutil.ignore_patterns("*.py"))
    module = portable_code.__name__
    program = f"import sys; from pathlib import Path; from {module} import write_code; write_code(Path(sys.argv[1]))"

    subprocess.run(
        [sys.executable, "-P", "-c", program, str(other)],
        check=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(site)},
    )  # fmt: skip

    assert {path.name: path.read_text() for path in other.glob("*.py")} == {
        path.name: path.read_text() for path in folder.glob("*.py")
    }


def test_boxes_of_labels_are_in_the_pixels_of_the_image(folder, picture):
    processor = GlipProcessor.from_pretrained(folder, local_files_only=True)
    model = GlipForGrounding.from_pretrained(folder, local_files_only=True).eval()
    small, large = Image.open(picture), Image.open(picture).resize((640, 480))
    found = []
    for image in (small, large):
        inputs = processor(images=image, text=[LABELS])
        with torch.inference_mode():
            outputs = model(**inputs)
        found.append(
            processor.post_process_labels(outputs, inputs, [LABELS], [(image.height, image.width)])[0]
        )

    assert found[0]["boxes"][:, 2].max() <= 128 < found[1]["boxes"][:, 2].max() <= 640


def test_a_list_of_labels_is_one_prompt_and_never_a_pair_of_sentences(folder):
    processor = GlipProcessor.from_pretrained(folder, local_files_only=True)
    image = np.zeros((60, 80, 3), dtype=np.uint8)

    lists = processor(images=[image], text=[LABELS])
    joined = processor(images=[image], text=["a red circle. two blue star"])

    assert torch.equal(lists["input_ids"], joined["input_ids"])


def test_a_text_that_is_too_long_is_refused_not_cut(folder):
    processor = GlipProcessor.from_pretrained(folder, local_files_only=True)

    with pytest.raises(ValueError, match="a text has 42 tokens, at most 24 fit"):
        processor(images=np.zeros((60, 80, 3), dtype=np.uint8), text="red " * 40)


def test_sixteen_bits_are_scaled_as_the_engine_scales_them(folder):
    processor = GlipProcessor.from_pretrained(folder, local_files_only=True)
    deep = Image.fromarray((np.arange(96 * 128, dtype=np.uint16) * 5).reshape(96, 128))

    resized = processor.resize(deep)

    np.testing.assert_array_equal(resized[..., 0], (np.arange(96 * 128) * 5 % 65536 >> 8).reshape(96, 128))


def test_transparency_is_white(folder):
    processor = GlipProcessor.from_pretrained(folder, local_files_only=True)

    assert (processor.resize(Image.new("RGBA", (128, 96), (255, 0, 0, 0))) == 255).all()
