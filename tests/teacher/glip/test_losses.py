"""The losses: the authors' numbers by hand, and the effect of the optional labels."""

from __future__ import annotations

import math

import pytest
import torch

from teacher.models.glip import GlipConfig
from teacher.models.glip.anchors import grid_anchors
from teacher.models.glip.assigner import assign
from teacher.models.glip.losses import centerness, compute_losses, focal_loss
from teacher.models.glip.outputs import GlipGroundingOutput

SHAPES = ((4, 4), (2, 2), (1, 1))
SIZES = [16, 4, 1]
LOCATIONS, TOKENS = 21, 5
ANCHORS = grid_anchors(SHAPES, 2.0, torch.device("cpu"))
MASK = torch.tensor([[1, 1, 1, 1, 0]])
CONFIG = GlipConfig(box_loss_weight=2.0, token_loss_weight=1.0)
BOX = ANCHORS[5] + torch.tensor([1.0, 0, 0, 2])
OTHER = ANCHORS[10] + torch.tensor([0.0, -1, 1, 0])


def outputs(seed: int = 0) -> GlipGroundingOutput:
    generator = torch.Generator().manual_seed(seed)
    return GlipGroundingOutput(
        token_logits=torch.randn(1, LOCATIONS, TOKENS, generator=generator).requires_grad_(),
        box_deltas=torch.randn(1, LOCATIONS, 4, generator=generator).requires_grad_(),
        centerness_logits=torch.randn(1, LOCATIONS, generator=generator).requires_grad_(),
        anchors=ANCHORS,
        level_shapes=SHAPES,
    )


def label(**optional: torch.Tensor) -> dict[str, torch.Tensor]:
    positive_map = torch.tensor([[0, 0.5, 0.5, 0, 0], [0, 0, 0, 1.0, 0]])
    return {"boxes": torch.stack([BOX, OTHER]), "positive_map": positive_map, **optional}


def losses(found: GlipGroundingOutput | None = None, **optional: torch.Tensor) -> dict[str, float]:
    result = compute_losses(found or outputs(), MASK, [label(**optional)], CONFIG)
    return {name: value.item() for name, value in result.items()}


def owners() -> torch.Tensor:
    return assign(ANCHORS, SIZES, [torch.stack([BOX, OTHER])], 9)[0]


def token_terms() -> torch.Tensor:
    """Return [N, T], the unmasked focal terms of the plain labels, before the normalizer."""
    owner = owners()
    target = torch.cat((label()["positive_map"] > 0, torch.zeros(1, TOKENS, dtype=torch.bool)))[owner].float()
    return focal_loss(outputs().token_logits[0].detach(), target, 0.25, 2.0)


def test_focal_loss_of_one_number():
    # p = 0.8: positive 0.25 * 0.2^2 * -ln 0.8, negative 0.75 * 0.8^2 * -ln 0.2
    logit = torch.tensor([0.8, 0.8]).logit()

    value = focal_loss(logit, torch.tensor([1.0, 0.0]), 0.25, 2.0)

    assert value.tolist() == pytest.approx(
        [-0.25 * 0.04 * math.log(0.8), -0.75 * 0.64 * math.log(0.2)], rel=1e-5
    )


def test_centerness_is_one_in_the_middle_and_falls_towards_the_side():
    anchors = torch.tensor([[-8.0, -8, 8, 8], [-6.0, -8, 10, 8]])  # centers (0, 0) and (2, 0)
    boxes = torch.tensor([[-4.0, -4, 4, 4]] * 2)

    assert centerness(anchors, boxes).tolist() == pytest.approx([1, math.sqrt(2 / 6)])


def test_the_token_loss_sums_over_all_locations_and_real_tokens_per_positive():
    expected = token_terms()[:, :4].sum() / (owners() >= 0).sum()

    assert losses()["loss_dot_product_token"] == pytest.approx(expected.item(), rel=1e-5)


def test_ones_and_none_are_the_authors_loss_exactly():
    neutral = {
        "box_weight": torch.ones(2),
        "token_weight": torch.ones(2),
        "ignore_boxes": torch.zeros(0, 4),
        "ignore_map": torch.zeros(0, TOKENS),
        "token_mask": torch.ones(TOKENS),
    }

    assert losses(**neutral) == losses()


def test_a_perfect_box_costs_nothing_and_the_weight_is_two():
    found = outputs()
    shifted = torch.zeros(1, LOCATIONS, 4)
    exact = GlipGroundingOutput(**{**found, "box_deltas": shifted})
    at_anchors = {"boxes": ANCHORS[[5, 10]], "positive_map": label()["positive_map"]}

    result = compute_losses(exact, MASK, [at_anchors], CONFIG)
    heavier = compute_losses(found, MASK, [label()], GlipConfig(box_loss_weight=4.0))

    assert result["loss_reg"].item() == pytest.approx(0, abs=1e-5)
    assert heavier["loss_reg"].item() == pytest.approx(2 * losses()["loss_reg"])


def test_a_box_weight_scales_box_terms_but_not_the_normaliser():
    half = losses(box_weight=torch.tensor([0.5, 0.5]))

    assert half["loss_reg"] == pytest.approx(losses()["loss_reg"] / 2)
    assert half["loss_centerness"] == pytest.approx(losses()["loss_centerness"] / 2)
    assert half["loss_dot_product_token"] == losses()["loss_dot_product_token"]


def test_a_box_weight_of_zero_takes_only_that_box_out():
    found = outputs()

    result = compute_losses(found, MASK, [label(box_weight=torch.tensor([0.0, 1.0]))], CONFIG)
    result["loss_reg"].backward()

    moved = found.box_deltas.grad[0].abs().sum(dim=1) > 0
    assert moved.nonzero().flatten().tolist() == (owners() == 1).nonzero().flatten().tolist()


def test_a_token_weight_scales_every_token_of_its_boxes_anchors():
    terms, owner = token_terms()[:, :4].sum(dim=1), owners()
    expected = (terms[owner == -1].sum() + terms[owner == 1].sum() + 0.3 * terms[owner == 0].sum()) / (
        owner >= 0
    ).sum()

    weighted = losses(token_weight=torch.tensor([0.3, 1.0]))

    assert weighted["loss_dot_product_token"] == pytest.approx(expected.item(), rel=1e-5)
    assert weighted["loss_reg"] == losses()["loss_reg"]


def test_a_token_mask_takes_its_tokens_out_everywhere():
    expected = token_terms()[:, [0, 1, 2]].sum() / (owners() >= 0).sum()

    masked = losses(token_mask=torch.tensor([1, 1, 1, 0, 1]))

    assert masked["loss_dot_product_token"] == pytest.approx(expected.item(), rel=1e-5)


def test_an_ignore_box_takes_its_tokens_out_for_unassigned_centers_inside():
    terms = token_terms()[:, :4]
    centers = (ANCHORS[:, :2] + ANCHORS[:, 2:]) / 2
    ignored = (centers <= 16).all(dim=1) & (owners() == -1)
    expected = (terms.sum() - terms[ignored][:, [1, 2]].sum()) / (owners() >= 0).sum()

    result = losses(
        ignore_boxes=torch.tensor([[0.0, 0, 16, 16], [0.0, 0, 16, 16]]),
        ignore_map=torch.tensor([[0, 1.0, 1, 0, 0], [0, 1.0, 0, 0, 0]]),
    )

    assert ignored.any()
    assert result["loss_dot_product_token"] == pytest.approx(expected.item(), rel=1e-5)


def test_an_image_without_boxes_has_token_loss_only_and_finite_gradients():
    found = outputs()
    empty = {"boxes": torch.zeros(0, 4), "positive_map": torch.zeros(0, TOKENS)}

    result = compute_losses(found, MASK, [empty], CONFIG)
    sum(result.values()).backward()

    assert result["loss_reg"].item() == result["loss_centerness"].item() == 0
    assert result["loss_dot_product_token"].item() > 0
    assert all(
        found[name].grad.isfinite().all() for name in ("token_logits", "box_deltas", "centerness_logits")
    )


def test_a_batch_is_normalized_by_all_its_positives():
    found = outputs()
    double = GlipGroundingOutput(
        token_logits=found.token_logits.repeat(2, 1, 1),
        box_deltas=found.box_deltas.repeat(2, 1, 1),
        centerness_logits=found.centerness_logits.repeat(2, 1),
        anchors=ANCHORS,
        level_shapes=SHAPES,
    )
    empty = {"boxes": torch.zeros(0, 4), "positive_map": torch.zeros(0, TOKENS)}

    both = compute_losses(double, MASK.repeat(2, 1), [label(), label()], CONFIG)
    beside_an_empty_one = compute_losses(double, MASK.repeat(2, 1), [label(), empty], CONFIG)

    assert both["loss_dot_product_token"].item() == pytest.approx(
        losses()["loss_dot_product_token"], rel=1e-5
    )
    assert beside_an_empty_one["loss_reg"].item() == pytest.approx(losses()["loss_reg"], rel=1e-5)


def test_background_learns_the_no_object_token_only_where_the_prompt_owns_it():
    config = GlipConfig(no_object_token=4)
    full = torch.ones_like(MASK)

    padded = compute_losses(outputs(), MASK, [label()], config)["loss_dot_product_token"]
    owned = compute_losses(outputs(), full, [label()], config)["loss_dot_product_token"]
    without = compute_losses(outputs(), full, [label()], CONFIG)["loss_dot_product_token"]

    assert padded.item() == losses()["loss_dot_product_token"]
    assert owned.item() != without.item()


def test_labels_of_another_number_of_images_are_refused():
    with pytest.raises(ValueError, match="2 labels for a batch of 1"):
        compute_losses(outputs(), MASK, [label(), label()], CONFIG)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"positive_map": torch.ones(3, TOKENS)},
            r"positive_map \[3, 5\] instead of \[2, 5\] \(2 boxes, 5 tokens\)",
        ),
        ({"positive_map": torch.ones(2, 4)}, r"positive_map \[2, 4\] instead of \[2, 5\]"),
        ({"boxes": torch.zeros(4)}, r"boxes \[4\] instead of \[4, 4\]"),
        ({"box_weight": torch.ones(1)}, r"box_weight \[1\] instead of \[2\]"),
        ({"token_mask": torch.ones(4)}, r"token_mask \[4\] instead of \[5\]"),
        ({"ignore_boxes": torch.zeros(1, 4)}, "no ignore_map"),
        ({"ignore_boxes": torch.zeros(1, 4), "ignore_map": torch.ones(2, TOKENS)}, r"ignore_map \[2, 5\]"),
    ],
)
def test_entries_of_a_label_that_do_not_fit_together_are_refused_with_the_images_number(entry, message):
    with pytest.raises(ValueError, match=f"labels of image 0: .*{message}"):
        compute_losses(outputs(), MASK, [{**label(), **entry}], CONFIG)
