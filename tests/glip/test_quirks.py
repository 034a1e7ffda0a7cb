"""Each habit of the authors that looks like a mistake: whoever tidies it away changes the numbers and is caught here.

The habits of boxes, assignment, losses and post-processing have their hand-worked cases beside their modules.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional

from teacher.models.glip import dyhead
from teacher.models.glip.alignment import TokenAlignment
from teacher.models.glip.fpn import FeaturePyramid
from teacher.models.glip.fusion import Fusion
from teacher.models.glip.text import TextLayer


class PlainInterpolation:
    """torch's functional with bilinear resizing that does not align corners."""

    def __getattr__(self, name: str) -> object:
        return getattr(functional, name)

    def interpolate(self, x: torch.Tensor, align_corners: bool, **settings: object) -> torch.Tensor:
        return functional.interpolate(x, align_corners=False, **settings)


def resize_without_aligned_corners(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(dyhead, "F", PlainInterpolation())


def add_the_fusion_to_the_unnormalised_input(patch: pytest.MonkeyPatch) -> None:
    fuse = Fusion.forward

    def forward(self, image, text, bias):
        fused_image, fused_text = fuse(self, image, text, bias)
        return image + fused_image - self.image_norm(image), text + fused_text - self.text_norm(text)

    patch.setattr(Fusion, "forward", forward)


def clear_the_padded_tokens_of_the_fusion(patch: pytest.MonkeyPatch) -> None:
    fuse = Fusion.forward

    def forward(self, image, text, bias):
        fused_image, fused_text = fuse(self, image, text, bias)
        padding = (bias[:, 0, 0, :, None] < 0).to(text.dtype)
        return fused_image, fused_text * (1 - padding)

    patch.setattr(Fusion, "forward", forward)


def project_the_whole_text_feature_rather_than_half(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TokenAlignment, "_project", lambda self, text, unit: self.text_projection(unit))


def leave_out_the_text_layers_of_the_tower(patch: pytest.MonkeyPatch) -> None:
    layer = TextLayer.forward
    # The text encoder of the reference has two layers of its own; those stay.
    calls = iter(range(1000))
    patch.setattr(TextLayer, "forward", lambda self, x, bias: layer(self, x, bias) if next(calls) < 2 else x)


def feed_the_last_level_without_rectifying(patch: pytest.MonkeyPatch) -> None:
    pyramid = FeaturePyramid.forward

    def forward(self, maps):
        levels = pyramid(self, maps)
        return [*levels[:-1], self.coarser[1](levels[-2])]

    patch.setattr(FeaturePyramid, "forward", forward)


TIDIED = [
    resize_without_aligned_corners,
    add_the_fusion_to_the_unnormalised_input,
    clear_the_padded_tokens_of_the_fusion,
    project_the_whole_text_feature_rather_than_half,
    leave_out_the_text_layers_of_the_tower,
    feed_the_last_level_without_rectifying,
]


def distance(reference, **changes: object) -> float:
    """Largest difference of our logits of case A from the authors', anywhere."""
    names = [f"A/dot_product_logits.P{level}" for level in range(3, 8)]
    theirs = np.concatenate([reference.arrays[name] for name in names], axis=1)
    with torch.no_grad():
        ours = reference.model(**changes)(**reference.inputs("A")).token_logits.numpy()
    return float(np.abs(ours - theirs).max())


@pytest.mark.parametrize("tidy", TIDIED, ids=lambda tidy: tidy.__name__)
def test_tidying_a_quirk_away_is_seen(fused_reference, monkeypatch, tidy: Callable):
    tidy(monkeypatch)

    assert distance(fused_reference) > 0.05


@pytest.mark.parametrize("change", [{"flat_offset_read": False}, {"tower_norm_groups": 32}], ids=str)
def test_switching_a_quirk_off_is_seen(fused_reference, change):
    assert distance(fused_reference, **change) > 1


def test_with_every_quirk_in_place_the_numbers_agree(fused_reference):
    assert distance(fused_reference) < 4e-4


def test_without_fusion_the_padded_tokens_are_read_as_zero(plain_reference):
    model, inputs = plain_reference.model(), plain_reference.inputs("A")

    with torch.no_grad():
        outputs = model(**inputs)

    padded = outputs.token_logits[0][:, inputs["attention_mask"][0] == 0]
    projected = model.alignment.text_projection.bias
    with torch.no_grad():
        levels = torch.cat([level.flatten(2) for level in model.model(**inputs).levels], dim=2)[0].T
        of_zero = levels @ projected / model.alignment.log_scale.exp() + model.alignment.bias
    assert torch.allclose(padded, of_zero[:, None].expand_as(padded), atol=1e-4)
