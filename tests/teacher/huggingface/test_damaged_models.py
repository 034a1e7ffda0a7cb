"""Damaged files of a model end in one message that names the directory and the remedy, never in a traceback."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.ground_image.teacher import open_teacher
from schemas.errors import ConfigError, GroundswellError
from teacher.factories import make_labeler
from teacher.models.directory_facts import describe_directory
from teacher.models.hub import locate_model
from tests.mutations import Mutation
from tests.teacher.huggingface.tiny_detectors import save_detector
from tests.teacher.huggingface.tiny_models import save_grounding_dino

MUTATIONS = [
    Mutation(
        "teacher/huggingface/images.py", "if wrong := [", "if wrong := not [",
        "test_an_absurd_image_size_is_refused_before_an_image_is_read",
    ),
    Mutation(
        "teacher/models/directory_facts.py", 'if cast("list[int]", place)[-1] > size:', "if False:",
        "test_the_description_notices_a_damaged_weights_file",
    ),
    Mutation(
        "teacher/huggingface/loading.py", "except Exception as error:", "except ZeroDivisionError as error:",
        "test_a_damaged_directory_is_refused_with_its_name",
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def dino_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_grounding_dino(tmp_path_factory.mktemp("dino"))


@pytest.fixture
def model(dino_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(dino_folder, tmp_path / "model"))


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def set_size(model: Path, **size: object) -> None:
    nested, flat = model / "processor_config.json", model / "preprocessor_config.json"
    if nested.exists():
        values = json.loads(nested.read_text())
        values["image_processor"]["size"] = size
        nested.write_text(json.dumps(values))
    else:
        change(flat, size=size)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no heads": lambda model: change(model / "config.json", encoder_attention_heads=0),
    "text as a number": lambda model: change(model / "config.json", d_model="x"),
    "another coding": lambda model: (model / "config.json").write_text(
        (model / "config.json").read_text(), encoding="utf-16"
    ),
    "another tokenizer": lambda model: (model / "tokenizer.json").write_text('{"a": 1}'),
    "a cut file": lambda model: (model / "model.safetensors").write_bytes(
        (model / "model.safetensors").read_bytes()[:5000]
    ),
    "deep JSON": lambda model: (model / "config.json").write_text("[" * 100_000),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_directory_is_refused_with_its_name(damage: str, model: Path) -> None:
    DAMAGES[damage](model)

    with pytest.raises(ConfigError, match=str(model)) as caught:
        make_labeler({"kind": "grounding-dino", "model": str(model)}, 1, 0.1)
    assert "again" in str(caught.value)
    with pytest.raises(GroundswellError, match=str(model)):
        open_teacher(model)


@pytest.mark.parametrize("side", [0, -1, 10**9])
def test_an_absurd_image_size_is_refused_before_an_image_is_read(
    side: int, model: Path, tmp_path: Path
) -> None:
    set_size(model, shortest_edge=side, longest_edge=side)
    with pytest.raises(ConfigError, match=f"a side of {side} pixels, expected 1 to 16384"):
        make_labeler({"kind": "grounding-dino", "model": str(model)}, 1, 0.1)

    detector = save_detector("rt_detr", tmp_path / "detector", size={"height": side, "width": side})
    with pytest.raises(ConfigError, match="size"):
        make_labeler({"kind": "detector", "model": str(detector)}, 1, 0.1)


def write_header(path: Path, header: object, values: int = 0) -> None:
    data = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(data)) + data + bytes(values))


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"a": {"dtype": "F32"}}, "expected dtype, shape and data_offsets"),
        ({"a": 5}, "expected dtype, shape and data_offsets"),
        ({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, "expected dtype"),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, "it was cut short"),
    ],
)
def test_the_description_notices_a_damaged_weights_file(model: Path, header: object, reason: str) -> None:
    write_header(model / "model.safetensors", header, values=4)

    with pytest.raises(ConfigError, match=reason):
        describe_directory(model)


def test_the_description_notices_deep_json(model: Path) -> None:
    deep = b"[" * 100_000
    (model / "model.safetensors").write_bytes(struct.pack("<Q", len(deep)) + deep)

    with pytest.raises(ConfigError, match="cannot be read"):
        describe_directory(model)


@pytest.mark.parametrize("name", ["a//b", "../x", "a b/c"])
def test_what_ends_in_a_commit_and_is_no_hub_id_is_explained(name: str) -> None:
    with pytest.raises(ConfigError, match=r"not a hub id; expected owner/name@commit"):
        locate_model(f"{name}@{'0' * 40}")
