"""The files of a model directory: what a digest covers, what is refused, and what is read of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from schemas.errors import ConfigError, GroundswellError, NotFoundError
from teacher.huggingface.model_files import find_model_type, list_model_files, read_image_settings
from tests.mutations import Mutation

INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a directory with weights and a configuration."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "model" / "config.json").write_text('{"model_type": "some-detector"}')
    return tmp_path / "model"


def write_parts(folder: Path, *names: str) -> None:
    """Replace the weights by an index of parts. The parts themselves are not written."""
    (folder / "model.safetensors").unlink()
    (folder / INDEX).write_text(json.dumps({"weight_map": {f"layer.{name}": name for name in names}}))


def test_files_that_decide_answers_are_listed_and_others_are_not(folder: Path) -> None:
    for name in (
        "tokenizer.json",
        "vocab.txt",
        "merges.txt",
        "preprocessor_config.json",
        "processor_config.json",
    ):
        (folder / name).write_text("{}")
    for name in ("README.md", "modeling_own.py", "pytorch_model.bin", "training_args.bin", ".gitattributes"):
        (folder / name).write_text("anything")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_text("anything")

    assert set(list_model_files(folder)) == {
        *("config.json", "model.safetensors", "tokenizer.json", "vocab.txt", "merges.txt"),
        *("preprocessor_config.json", "processor_config.json"),
    }


def test_a_changed_byte_changes_the_list(folder: Path) -> None:
    before = list_model_files(folder)
    (folder / "model.safetensors").write_bytes(b"weightz")

    after = list_model_files(folder)

    assert {name for name in before if before[name] != after[name]} == {"model.safetensors"}


def test_weights_in_parts_are_listed_with_their_index(folder: Path) -> None:
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    write_parts(folder, *names)
    for name in names:
        (folder / name).write_bytes(b"part")

    assert set(list_model_files(folder)) == {"config.json", INDEX, *names}


@pytest.mark.parametrize(
    "name", ["model-00002-of-00002.safetensors", "pytorch_model-00001.bin", "../other/model.safetensors"]
)
def test_parts_that_are_lost_pickled_or_elsewhere_are_refused(folder: Path, name: str) -> None:
    write_parts(folder, "model-00001-of-00002.safetensors", name)
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"part")
    (folder.parent / "other").mkdir()
    (folder.parent / "other" / "model.safetensors").write_bytes(b"part")
    if name.endswith(".bin"):
        (folder / name).write_bytes(b"pickle")

    expected = rf"names the shards \['{name}'\], expected .safetensors files of this"
    if name == "model-00002-of-00002.safetensors":
        expected = rf"lacks 1 of 2 shards of its weights: {name}; copy or download these files again"
    with pytest.raises(ConfigError, match=expected):
        list_model_files(folder)


def test_an_index_without_parts_is_refused(folder: Path) -> None:
    write_parts(folder)

    with pytest.raises(ConfigError, match=r"names the shards \[\]"):
        list_model_files(folder)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ["pytorch_model.bin", "flax_model.msgpack"],
            "only flax_model.msgpack, pytorch_model.bin, which can run code",
        ),
        (["other.safetensors"], "no weights at all; expected model.safetensors"),
        ([], "no weights at all; expected model.safetensors"),
    ],
)
def test_a_directory_without_weights_in_safetensors_form_is_refused(
    folder: Path, files: list[str], message: str
) -> None:
    (folder / "model.safetensors").unlink()
    for name in files:
        (folder / name).write_bytes(b"x")

    with pytest.raises(NotFoundError, match=message):
        list_model_files(folder)


def test_a_path_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "gone", Path("owner/name")):
        with pytest.raises(NotFoundError, match="is not a directory; give a model directory"):
            list_model_files(path)


def test_weights_that_transformers_would_read_from_elsewhere_are_refused(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/name"}')
    with pytest.raises(ConfigError, match="adapter of other weights; merge them"):
        list_model_files(folder)
    (folder / "adapter_config.json").unlink()

    (folder / "config.json").write_text('{"transformers_weights": "adapter_model.bin"}')
    with pytest.raises(ConfigError, match="names other weights in transformers_weights"):
        list_model_files(folder)


def test_the_model_type_is_read_and_a_broken_configuration_has_none(folder: Path) -> None:
    assert find_model_type(folder) == "some-detector"
    for text in ("", "[]", "{", '{"model_type": 3}', "{}", "\xff", "[" * 100_000):
        (folder / "config.json").write_text(text, encoding="latin-1")
        assert find_model_type(folder) is None
    assert find_model_type(folder / "gone") is None
    assert find_model_type(folder / "config.json") is None


def test_image_settings_that_are_no_object_are_an_error_with_a_remedy(folder: Path) -> None:
    for text in ("", "[]", "{", "nul"):
        (folder / "preprocessor_config.json").write_text(text)
        with pytest.raises(GroundswellError, match="copy the model again"):
            read_image_settings(folder)


FILE, SHARDS = "teacher/huggingface/model_files.py", "teacher/models/weight_files.py"
PARTS = test_parts_that_are_lost_pickled_or_elsewhere_are_refused.__name__
ELSEWHERE = test_weights_that_transformers_would_read_from_elsewhere_are_refused.__name__
WEIGHTS = test_a_directory_without_weights_in_safetensors_form_is_refused.__name__
MUTATIONS = (
    Mutation(
        FILE,
        "if not find_weight_files(folder):",
        "if False:",
        WEIGHTS,
    ),
    Mutation(FILE, "if (folder / _ADAPTER).is_file():", "if False:", ELSEWHERE),
    Mutation(FILE, ".get(_WEIGHTS_KEY) is not None:", ".get(_WEIGHTS_KEY) == 0:", ELSEWHERE),
    Mutation(SHARDS, "not name.endswith(SAFETENSORS) or ", "", PARTS),
    Mutation(SHARDS, " or Path(name).name != name", "", PARTS),
    Mutation(SHARDS, "if not (folder / name).is_file()]", "if False]", PARTS),
    Mutation(
        SHARDS,
        "if wrong or not names:",
        "if wrong:",
        test_an_index_without_parts_is_refused.__name__,
    ),
    Mutation(
        FILE, "if not folder.is_dir():", "if False:", test_a_path_that_is_no_directory_is_refused.__name__
    ),
    Mutation(
        FILE,
        '        "tokenizer.json",\n',
        "",
        test_files_that_decide_answers_are_listed_and_others_are_not.__name__,
    ),
)
