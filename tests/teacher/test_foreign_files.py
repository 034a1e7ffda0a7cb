"""What stands in the place of weights is named: a page, a pointer, an archive; and the model directory nearby is."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import torch

from schemas.errors import ConfigError, GroundswellError, NotFoundError
from teacher.detectors.onnx_session import open_onnx
from teacher.models.directory_facts import describe_directory
from teacher.models.foreign_files import describe_foreign_file
from teacher.models.glip.checkpoint.convert import convert
from teacher.models.glip.checkpoint.directory import read_directory
from teacher.models.weight_files import find_weight_files
from teacher.registry import recognize_model

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 927000000\n"
FOREIGN = {
    "page": (b"<!DOCTYPE html><html><title>404 Not  Found</title>", "is a web page ('404 Not Found')"),
    "page with a mark": (b"\xef\xbb\xbf\n<HTML><body>sorry", "is a web page ('<HTML><body>sorry')"),
    "xml": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is a web page"),
    "pointer": (LFS, "is a git-lfs pointer, not the file itself; run `git lfs pull`"),
    "json": (b'{"error": "Repository not found"}', "is JSON text"),
    "empty": (b"", "is empty"),
    "gzip": (gzip.compress(b"weights"), "is compressed (gzip); unpack it"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_in_the_place_of_weights_is_named_wherever_weights_are_read(
    tmp_path: Path, name: str
) -> None:
    data, said = FOREIGN[name]
    for file in ("w.pth", "w.onnx", "model.safetensors"):
        (tmp_path / file).write_bytes(data)

    for read in (
        lambda: convert(tmp_path / "w.pth", tmp_path / "to"),
        lambda: open_onnx(tmp_path / "w.onnx"),
        lambda: find_weight_files(tmp_path),
    ):
        with pytest.raises(ConfigError) as caught:
            read()
        assert said in str(caught.value)
    assert not (tmp_path / "to").exists()


def test_a_list_in_place_of_weights_is_named(tmp_path: Path) -> None:
    torch.save([1, 2, 3], tmp_path / "list.pth")

    with pytest.raises(GroundswellError, match="contains a list, expected a dictionary of tensors"):
        convert(tmp_path / "list.pth", tmp_path / "to")


def test_weights_are_not_taken_for_another_file(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "good.pth")
    (tmp_path / "good.safetensors").write_bytes(b"\x7b\x22\0\0\0\0\0\0{}")

    assert describe_foreign_file(tmp_path / "good.pth") is None
    assert describe_foreign_file(tmp_path / "good.safetensors") is None


@pytest.mark.parametrize("name", ["html", "lfs", "list"])
def test_the_checkpoints_of_field_reports_are_named(shared_data: Path, tmp_path: Path, name: str) -> None:
    said = {"html": "web page .'409 Public access", "lfs": "git-lfs pointer", "list": "contains a list"}[name]

    with pytest.raises(GroundswellError, match=said):
        convert(shared_data / "field_reports" / "gold" / "ckpt" / f"{name}.pth", tmp_path / "to")


def test_the_model_in_a_training_is_named_where_the_training_is_given(tmp_path: Path) -> None:
    model = tmp_path / "runs" / "real" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text('{"model_type": "glip"}')
    (model / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")

    for path in (tmp_path / "runs" / "real", tmp_path / "runs", model / "model.safetensors"):
        with pytest.raises(ConfigError, match=f"is not a known model, but {model} is one; use {model}"):
            recognize_model(path)
    with pytest.raises(ConfigError, match=f"{model} is a model directory: use it"):
        describe_directory(model.parent)
    with pytest.raises(NotFoundError, match=f"{model} is a model directory: use it"):
        read_directory(model.parent)
