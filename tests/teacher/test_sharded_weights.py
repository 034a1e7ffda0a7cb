"""Weights in shards are the same weights: described, digested, and loaded as those of one file are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from pipelines.cli.model_info import describe_model
from schemas.digests import digest_of, sha256_hex
from schemas.errors import ConfigError
from student.models.start import hash_start_files
from teacher.factories import labeler_digest, make_labeler
from teacher.huggingface.model_files import list_model_files
from teacher.models.glip import GlipForGrounding
from tests.mutations import Mutation
from tests.teacher.huggingface.tiny_owl import make_picture, make_sample, save_owl

KINDS = ("owlv2", "glip")
FACTS, SHARDS = "teacher/models/directory_facts.py", "teacher/models/weight_files.py"
MUTATIONS = (
    Mutation(
        FACTS,
        "return {tensor: headers[name][tensor] for tensor, name in places.items()}",
        "return headers[names[0]]",
        "test_model_info_counts_what_all_shards_have",
    ),
    Mutation(
        FACTS,
        "if tensor not in headers[name]):",
        "if False):",
        "test_an_index_that_does_not_fit_its_shards_is_an_error",
    ),
    Mutation(SHARDS, "    if missing:\n", "    if False:\n", "test_a_missing_shard_is_named_with_what_to_do"),
    Mutation(
        "teacher/labelers/glip_settings.py",
        "    find_weight_files(folder)\n",
        "",
        "test_a_missing_shard_is_named_with_what_to_do",
    ),
    Mutation(
        "teacher/labelers/glip_settings.py",
        "names = NAMES - {WEIGHTS_INDEX} if (folder / WEIGHTS).is_file() else NAMES",
        "names = NAMES - {WEIGHTS_INDEX}",
        "test_the_digest_covers_every_shard_and_the_index",
    ),
)


def shard(whole: Path, folder: Path) -> Path:
    """Copy a model directory with its weights in two shards, split by this test and not by `transformers`."""
    shutil.copytree(whole, folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {
        "model-00001-of-00002.safetensors": names[::2],
        "model-00002-of-00002.safetensors": names[1::2],
    }
    for name, own in parts.items():
        save_file({key: tensors[key] for key in own}, folder / name, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {key: name for name, own in parts.items() for key in own}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture(scope="session")
def wholes(tmp_path_factory: pytest.TempPathFactory, glip_folder: Path) -> dict[str, Path]:
    return {"owlv2": save_owl(tmp_path_factory.mktemp("whole") / "owl", version=2), "glip": glip_folder}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def shards_folder(wholes: dict[str, Path], kind: str, tmp_path: Path) -> Path:
    return shard(wholes[kind], tmp_path / "shards")


def test_model_info_counts_what_all_shards_have(
    wholes: dict[str, Path], kind: str, shards_folder: Path
) -> None:
    facts = describe_model(shards_folder)

    tensors = load_file(wholes[kind] / "model.safetensors")
    assert facts["parameters"] == sum(tensor.numel() for tensor in tensors.values())
    whole = describe_model(wholes[kind])
    assert {name: facts[name] for name in ("kind", "dtypes", "parts")} == {
        name: whole[name] for name in ("kind", "dtypes", "parts")
    }
    digests = {
        path.name: "sha256:" + sha256_hex(path.read_bytes()) for path in shards_folder.glob("*.safetensors")
    }
    assert len(digests) == 2 and facts["shards"] == digests
    assert facts["weights_digest"] == digest_of(digests) and "shards" not in whole


def test_two_images_get_the_boxes_that_the_weights_in_one_file_give(
    wholes: dict[str, Path], kind: str, shards_folder: Path
) -> None:
    found = []
    for folder in (wholes[kind], shards_folder):
        labeler = make_labeler({"kind": kind, "model": str(folder), "device": "cpu"}, 2, 0.0)
        rows = [
            labeler.prepare(
                make_sample("a red circle", "star", width=90, height=60), make_picture(60, 90, seed)
            )
            for seed in (0, 1)
        ]
        found.append(labeler.label(rows))
        labeler.close()

    assert len(found[0]) == 2 and all(found[0]), "both images have boxes"
    assert found[0] == found[1]


def test_a_missing_shard_is_named_with_what_to_do(kind: str, shards_folder: Path) -> None:
    (shards_folder / "model-00002-of-00002.safetensors").unlink()

    says = r"lacks 1 of 2 shards of its weights: model-00002-of-00002.safetensors; copy or download these"
    with pytest.raises(ConfigError, match=says):
        describe_model(shards_folder)
    with pytest.raises(ConfigError, match=says):
        labeler_digest({"kind": kind, "model": str(shards_folder)})


def test_an_index_that_does_not_fit_its_shards_is_an_error(shards_folder: Path) -> None:
    index = json.loads((shards_folder / "model.safetensors.index.json").read_text())
    first = next(iter(index["weight_map"]))
    index["weight_map"][first] = "model-00002-of-00002.safetensors"
    (shards_folder / "model.safetensors.index.json").write_text(json.dumps(index))

    with pytest.raises(ConfigError, match=f"e.g. {first} in model-00002.*copy all files of the model again"):
        describe_model(shards_folder)


def test_the_digest_covers_every_shard_and_the_index(kind: str, shards_folder: Path) -> None:
    settings = {"kind": kind, "model": str(shards_folder)}
    digests = [labeler_digest(settings)]
    for name in ("model-00001-of-00002.safetensors", "model.safetensors.index.json"):
        path = shards_folder / name
        path.write_bytes(path.read_bytes() + b" ")
        digests.append(labeler_digest(settings))

    assert len(set(digests)) == 3


def test_an_index_next_to_weights_in_one_file_does_not_change_a_glip_teacher(
    wholes: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(wholes["glip"], tmp_path / "copy")
    before = labeler_digest({"kind": "glip", "model": str(folder)})
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "gone.safetensors"}}')

    assert labeler_digest({"kind": "glip", "model": str(folder)}) == before
    assert describe_model(folder)["parameters"] == describe_model(wholes["glip"])["parameters"]


def test_a_training_can_start_from_shards(wholes: dict[str, Path], tmp_path: Path) -> None:
    folder = shard(wholes["glip"], tmp_path / "shards")

    assert set(list_model_files(folder)) == set(hash_start_files(str(folder)))
    whole = load_file(wholes["glip"] / "model.safetensors")
    loaded = GlipForGrounding.from_pretrained(folder).state_dict()
    assert all(np.array_equal(loaded[name].numpy(), tensor.numpy()) for name, tensor in whole.items())
