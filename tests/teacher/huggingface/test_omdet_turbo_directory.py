"""Directories of the teacher `omdet-turbo`: what is loaded, what is refused, and what its digest covers."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from schemas.errors import ConfigError
from teacher.factories import labeler_digest, make_labeler
from teacher.registry import recognize_model
from tests.mutations import Mutation
from tests.teacher.huggingface.tiny_omdet_sam import (
    make_picture,
    make_sample,
    numbers_of,
    save_omdet_turbo,
    write_image_settings,
)

LABELER, IMAGES = "teacher/labelers/omdet_turbo.py", "teacher/huggingface/images.py"

MUTATIONS = (
    Mutation(IMAGES, "if rules.exact is None:", "if False:", "test_settings_that_keep_the_aspect_ratio"),
    Mutation(LABELER, 'if not hasattr(model.decoder, "task_project"):', "if False:", "test_a_model_with_equal_widths"),
    Mutation(LABELER, "        check_backbone(self.folder)\n", "", "test_a_backbone_of_timm"),
    Mutation(LABELER, "            for part in", "            for part in () and", "test_compile_covers"),
    Mutation("teacher/huggingface/loading.py", "if missing:", "if False:", "test_missing_weights"),
)  # fmt: skip


@pytest.fixture(scope="module")
def omdet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_omdet_turbo(tmp_path_factory.mktemp("omdet"))


def build(folder: Path, **settings):
    return make_labeler({"kind": "omdet-turbo", "model": str(folder), **settings}, 1, 0.0)


@pytest.fixture(scope="module")
def teacher(omdet_folder):
    return build(omdet_folder)


def ask(teacher, *texts: str):
    return teacher.prepare(make_sample(*texts), make_picture())


def test_a_model_with_equal_widths_answers_too(tmp_path):
    teacher = build(save_omdet_turbo(tmp_path, class_width=32))

    assert teacher.label([ask(teacher, "a dog")])[0]


def test_a_backbone_of_timm_is_refused_with_a_remedy(omdet_folder, tmp_path):
    if importlib.util.find_spec("timm"):
        pytest.skip("timm is installed, so such a model can be loaded")
    folder = shutil.copytree(omdet_folder, tmp_path / "published")
    config = json.loads((folder / "config.json").read_text())
    config |= {"backbone_config": None, "use_timm_backbone": True, "backbone": "swin_tiny_patch4_window7_224"}
    (folder / "config.json").write_text(json.dumps(config))

    with pytest.raises(ConfigError, match=r"swin_tiny_patch4_window7_224.*install timm.*torchvision"):
        build(folder)


def test_settings_that_keep_the_aspect_ratio_are_refused(omdet_folder, tmp_path):
    folder = shutil.copytree(omdet_folder, tmp_path / "other")
    write_image_settings(folder, 128, [0.5] * 3, [0.5] * 3)
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    settings["size"] = {"shortest_edge": 128, "longest_edge": 256}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))

    with pytest.raises(ConfigError, match="shortest side 128.*expected `size` with height and width"):
        build(folder)


def test_missing_weights_are_an_error_not_random_numbers(omdet_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(omdet_folder, tmp_path / "broken")
    weights = load_file(folder / "model.safetensors")
    del weights["decoder.encoder_class_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ConfigError, match=r"lacks 1 weights .*decoder\.encoder_class_head\.weight"):
        build(folder)


def test_bf16_gives_nearly_the_same_scores(omdet_folder, teacher):
    rough = build(omdet_folder, precision="bf16")

    exact, near = (numbers_of(one.label([ask(teacher, "a dog")])[0]) for one in (teacher, rough))

    assert abs(np.median(exact[:, 5]) - np.median(near[:, 5])) < 0.05


def test_compile_covers_the_parts_that_run(omdet_folder, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda what, *_, **__: compiled.append(what) or what)

    teacher = build(omdet_folder, compile=True)

    parts = {type(call.__self__).__name__ for call in compiled if hasattr(call, "__self__")}
    assert parts == {"OmDetTurboVisionBackbone", "OmDetTurboHybridEncoder", "OmDetTurboDecoder"}
    assert teacher.label([ask(teacher, "a dog")])[0]


def test_the_kind_is_found_by_its_files_and_its_settings_are_in_the_digest(omdet_folder, teacher):
    settings = {"kind": "omdet-turbo", "model": str(omdet_folder)}

    assert recognize_model(omdet_folder)[0] == "omdet-turbo"
    assert labeler_digest(settings) == teacher.digest
    assert labeler_digest(settings) != labeler_digest({**settings, "classes_per_question": 1})
