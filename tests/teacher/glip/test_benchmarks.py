"""The benchmarks run and print what they promise, on models small enough for a second."""

from __future__ import annotations

import argparse
import math

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import glip_padding, glip_speed
from teacher.models.glip import GlipForGrounding, GlipProcessor


@pytest.fixture
def folder(tiny_model, processor, pictures, tmp_path):
    with torch.no_grad():
        tiny_model.alignment.bias += 4.5
    tiny_model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    (tmp_path / "images").mkdir()
    for number, picture in enumerate(pictures[:2]):
        Image.fromarray(picture[:, : 96 - 20 * number]).save(tmp_path / f"images/{number}.png")
    return tmp_path


def test_a_row_holds_speed_memory_and_shares_that_add_up(monkeypatch, tiny_model):
    monkeypatch.setattr(glip_speed, "build", lambda model: tiny_model)
    monkeypatch.setattr(glip_speed, "TOKENS", 16)
    monkeypatch.setattr(glip_speed, "PROMPT_TOKENS", 12)
    small = dict(glip_speed.random_inputs(2, 96, 96))
    small["input_ids"] = small["input_ids"] % 13
    monkeypatch.setattr(glip_speed, "random_inputs", lambda *sizes: small)
    options = argparse.Namespace(size="96x96", device="cpu", threads=1, seconds=0.05, compile=False)

    row = glip_speed.measure("glip-t", "bf16", "2", options)

    assert row["images_per_s"] > 0 and row["peak_mib"] > 0 and row["batch"] == 2
    assert sum(row["shares"].values()) == pytest.approx(1)
    assert set(row["shares"]) == {
        "image backbone", "pyramid", "text encoder", "fusion and text layers", "dynamic convolutions", "other",
    }  # fmt: skip
    assert all(0 <= share <= 1 for share in row["shares"].values())


def test_the_same_padding_moves_no_score_and_a_larger_bucket_moves_some(folder, capsys):
    glip_padding.main(
        ["--model", f"{folder}/model", "--images", f"{folder}/images", "--caption", "red circle. blue square"]
        + ["--multiples", "32,128"]
    )

    same, larger = capsys.readouterr().out.strip().splitlines()
    assert "multiple   32" in same and "largest 0.0000; 0.0 % change" in same
    assert "multiple  128" in larger and "largest 0.0000" not in larger


def test_scores_are_those_of_the_places_inside_the_image_whatever_the_bucket(folder):
    model = GlipForGrounding.from_pretrained(folder / "model").eval()
    processor = GlipProcessor.from_pretrained(folder / "model")
    resized = processor.resize(np.zeros((96, 76, 3), np.uint8))

    sizes = {
        m: len(glip_padding.scores(model, processor, resized, "red circle. square", m)) for m in (32, 128)
    }

    places = sum(
        math.ceil(resized.shape[0] / s) * math.ceil(resized.shape[1] / s) for s in model.config.strides
    )
    assert set(sizes.values()) == {2 * places}
