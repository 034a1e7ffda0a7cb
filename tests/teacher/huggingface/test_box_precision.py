"""Under bf16 boxes keep their full precision: bfloat16 itself has steps of 1/256 in the larger half of an image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.worker.batching import label_in_batches
from schemas.records import Phrase, Pixels, Region, Sample
from teacher.factories import labeler_digest, make_labeler
from teacher.huggingface.box_heads import keep_boxes_in_float32
from tests.mutations import Mutation
from tests.teacher.conftest import glip_folder  # noqa: F401 - a fixture
from tests.teacher.huggingface.tiny_detectors import RECIPES, save_detector
from tests.teacher.huggingface.tiny_models import save_grounding_dino
from tests.teacher.huggingface.tiny_omdet_sam import save_omdet_turbo, save_sam3
from tests.teacher.huggingface.tiny_owl import save_owl

SIZE = 128
"""Side of the image: a power of two, so that scaling a box by it rounds nothing."""
PHRASES = ("a cat", "a dog", "a person")
QUICK = ("detr", "yolos", "rt_detr", "dab-detr")
"""Detectors of four ways to make boxes. The others are slow together."""
KINDS = ("grounding-dino", "mm-grounding-dino", "omdet-turbo", "sam3", "owlv2")
MUTATIONS = (
    Mutation(
        "teacher/huggingface/labeler.py",
        "            keep_boxes_in_float32(model)",
        "            pass",
        "test_boxes_of_other_kinds_are_not_rounded",
    ),
    Mutation(
        "teacher/detectors/directory/detector.py",
        "            keep_boxes_in_float32(model)",
        "            pass",
        "test_boxes_of_detectors_are_not_rounded_and_near_those_of_fp32",
    ),
    Mutation(
        "teacher/huggingface/box_heads.py",
        "with torch.autocast(inputs[0].device.type, enabled=False):",
        "if True:",
        "test_boxes_of_detectors_are_not_rounded_and_near_those_of_fp32",
    ),
)


def save_kind(kind: str, folder: Path) -> Path:
    makers: dict[str, Callable[[], Path]] = {
        "grounding-dino": lambda: save_grounding_dino(folder),
        "mm-grounding-dino": lambda: save_grounding_dino(folder, mm=True),
        "omdet-turbo": lambda: save_omdet_turbo(folder),
        "sam3": lambda: save_sam3(folder),
        "owlv2": lambda: save_owl(folder, version=2),
    }
    return makers[kind]()


def find_regions(kind: str, folder: Path, precision: str) -> list[Region]:
    """Return all boxes of an image with patches of random colours."""
    patches = np.random.default_rng(1).integers(0, 256, (SIZE // 8, SIZE // 8, 3), dtype=np.uint8)
    image = patches.repeat(8, axis=0).repeat(8, axis=1)
    caption = ", ".join(PHRASES)
    places = [(caption.index(text), text) for text in PHRASES]
    phrases = [Phrase(begin=begin, end=begin + len(text), text=text, root=text[2:]) for begin, text in places]
    sample = Sample(
        unit="u", shard="s", index=0, key="k", pixels=Pixels(url="file"), image_sha256="0", caption=caption,
        width=SIZE, height=SIZE, phrases=tuple(phrases),
    )  # fmt: skip
    labeler = make_labeler(
        {"kind": kind, "model": str(folder), "device": "cpu", "precision": precision}, 1, 0.0
    )
    (answer,) = label_in_batches(labeler, [(0, labeler.prepare(sample, image))])
    assert answer.rejected is None, answer.rejected
    return list(answer.regions)


def read_boxes(regions: list[Region]) -> np.ndarray:
    """Return boxes [N, 4], xyxy as fractions of the image."""
    return np.array([(one.x0, one.y0, one.x1, one.y1) for one in regions]) / SIZE


def compute_rounded_share(regions: list[Region]) -> float:
    """Return the share of corners, widths and heights that bfloat16 can hold, of sides that are not clipped."""
    low, high = np.split(read_boxes(regions), 2, axis=1)
    whole = (low > 0) & (high < 1)
    assert whole.sum() > 10
    sides = torch.from_numpy(np.concatenate([low[whole], high[whole], (high - low)[whole]]))
    return float((sides == sides.bfloat16().double()).double().mean())


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind in QUICK else pytest.mark.slow) for kind in RECIPES]
)
def test_boxes_of_detectors_are_not_rounded_and_near_those_of_fp32(kind: str, tmp_path: Path) -> None:
    larger = {"size": {"shortest_edge": 128, "longest_edge": 192}} if kind == "deformable_detr" else {}
    folder = save_detector(kind, tmp_path / "m", **larger)

    regions, exact = (find_regions("detector", folder, precision) for precision in ("bf16", "fp32"))

    assert compute_rounded_share(regions) < 0.05
    farthest_NM = np.abs(read_boxes(regions)[:, None] - read_boxes(exact)).max(axis=-1)
    assert np.median(farthest_NM.min(axis=1)) < 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_of_other_kinds_are_not_rounded(kind: str, tmp_path: Path) -> None:
    folder = save_kind(kind, tmp_path / "m")

    assert compute_rounded_share(find_regions(kind, folder, "bf16")) < 0.05


def test_boxes_of_glip_are_not_rounded(glip_folder: Path) -> None:  # noqa: F811
    assert compute_rounded_share(find_regions("glip", glip_folder, "bf16")) < 0.05


def test_the_digest_says_so_for_kinds_whose_boxes_were_rounded(tmp_path: Path) -> None:
    """A job in fp32, and OWL in any precision, keeps the digest that it had."""
    from teacher.labelers.grounding_dino import GroundingDinoTeacher
    from teacher.labelers.owlv2 import Owlv2Teacher

    assert GroundingDinoTeacher.had_rounded_boxes and not Owlv2Teacher.had_rounded_boxes
    folder = save_grounding_dino(tmp_path / "m")
    values = {"kind": "grounding-dino", "model": str(folder)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GroundingDinoTeacher, "had_rounded_boxes", False)
        before = [labeler_digest({**values, "precision": name}) for name in ("fp32", "bf16")]
    after = [labeler_digest({**values, "precision": name}) for name in ("fp32", "bf16")]
    assert after[0] == before[0] and after[1] != before[1]


def test_a_list_of_heads_is_entered_and_other_layers_are_left_alone() -> None:
    model = torch.nn.Module()
    model.bbox_embed = torch.nn.ModuleList([torch.nn.Sequential(torch.nn.Linear(4, 4))])
    model.class_embed = torch.nn.Linear(4, 4)

    assert keep_boxes_in_float32(model) == ["bbox_embed.0"]
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        half = torch.ones(1, 4, dtype=torch.bfloat16)
        assert model.bbox_embed[0](half).dtype == torch.float32
        assert model.class_embed(half).dtype == torch.bfloat16
