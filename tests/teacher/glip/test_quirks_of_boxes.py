"""The authors' habits in boxes, targets, losses and post-processing: without one, the numbers differ from theirs.

Numbers in the names are those of the fact sheet's checklist. The network's own habits are in `test_quirks`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from teacher.models.glip import GlipProcessor, anchors, assigner, box_coder, detections, losses

LESS_ONE = (box_coder.centers_and_sizes, ("high - low + 1", "high - low"))

DETECTIONS = {
    "6_rank_by_the_product_without_a_root": (detections.detect, (".sqrt()", "")),
    "6_take_the_best_token_of_a_phrase": (
        detections.phrase_scores,
        (
            "token_logits_NT.sigmoid() @ mean_TP",
            "torch.stack([token_logits_NT.sigmoid()[:, list(t)].amax(1) for t in phrase_tokens], 1)",
        ),
    ),
    "7_decode_exclusive_sizes": LESS_ONE,
    "7_decode_without_taking_the_pixel_off": (
        box_coder.decode,
        ("anchor_size - 1) / 2", "anchor_size) / 2"),
    ),
    "7_clip_to_the_width": (
        detections.detect,
        ("[size[1] - 1, size[0] - 1, size[1] - 1, size[0] - 1]", "[size[1], size[0], size[1], size[0]]"),
    ),
}
LOSSES = {
    "7_count_the_last_pixel_in_the_generalized_overlap": (
        box_coder.generalized_iou,
        (
            "inter = (torch.minimum(high_a, high_b) - torch.maximum(low_a, low_b))",
            "inter = (torch.minimum(high_a, high_b) - torch.maximum(low_a, low_b) + 1)",
        ),
    ),
    "11_hear_the_padded_tokens": (
        losses._make_token_mask,
        (
            "(attention_mask_BT > 0).to(anchors_N4)",
            "torch.ones_like(attention_mask_BT).to(anchors_N4)",
        ),
    ),
    "11_average_over_the_tokens": (
        losses.compute_losses,
        ("token / positives", "token / positives / attention_mask_BT.sum(dim=1).float().mean()"),
    ),
    "11_leave_the_background_out": (
        losses.compute_losses,
        (
            "targets.token_weight_G[owner_BN]).sum()",
            "targets.token_weight_G[owner_BN] * (owner_BN >= 0)).sum()",
        ),
    ),
    "12_weigh_the_box_loss_with_one": (
        losses.compute_losses,
        ("box * config.box_loss_weight", "box"),
    ),
    "12_average_the_box_loss_plainly": (
        losses._box_losses,
        ("((1 - overlap) * central * weight).sum() / normalizer", "(1 - overlap).mean()"),
    ),
    "12_normalise_the_centerness_by_images": (
        losses.compute_losses,
        ("central / positives", "central / len(labels)"),
    ),
}


def found(reference, threshold: float) -> dict[str, np.ndarray]:
    """Return the detections of case A on our outputs, as arrays like the reference's."""
    spans = reference.meta["positive_map0"]
    phrases = [spans[str(label)] for label in range(1, len(spans) + 1)]
    (one,) = GlipProcessor.post_process_grounded_object_detection(
        reference.outputs("A"), [phrases], [tuple(reference.meta["sizes"][0])], threshold=threshold
    )
    return {name: value.numpy() for name, value in one.items()}


def same_as_the_authors(reference) -> bool:
    """Return whether scores and boxes are equal sets at every threshold. The parity tests compare labels."""
    for threshold in (0.05, 0.3, 0.5):
        name = "A/det0" + ("" if threshold == 0.05 else f".thresh{threshold}")
        ours = found(reference, threshold)
        theirs = {part: reference.arrays[f"{name}.{part}"] for part in ("scores", "boxes")}
        if len(ours["scores"]) != len(theirs["scores"]):
            return False
        if not np.allclose(ours["scores"], theirs["scores"], rtol=0, atol=5e-5):
            return False
        # Equal scores may come in any order, so sums of all sides are compared.
        if np.abs(ours["boxes"].sum(axis=0) - theirs["boxes"].sum(axis=0)).max() > 5e-3 * len(ours["boxes"]):
            return False
    return True


def losses_of(reference) -> dict[str, float]:
    inputs = reference.inputs("C")
    made = losses.compute_losses(
        reference.outputs("C"), inputs["attention_mask"], reference.labels(), reference.config
    )
    return {name: value.item() for name, value in made.items()}


def largest_miss(reference) -> float:
    """Return the largest relative difference of a loss from the authors'."""
    return max(
        abs(value / reference.meta["losses"][name] - 1) for name, value in losses_of(reference).items()
    )


def test_untouched_everything_agrees(fused_reference):
    assert same_as_the_authors(fused_reference)
    assert largest_miss(fused_reference) < 1e-4


@pytest.mark.parametrize("case", DETECTIONS)
def test_tidying_a_quirk_of_the_detections_is_seen(fused_reference, tidy, case):
    fused_reference.outputs("A")  # before the change: only what follows the network is under test
    tidy(*DETECTIONS[case])

    assert not same_as_the_authors(fused_reference)


@pytest.mark.parametrize("case", LOSSES)
def test_tidying_a_quirk_of_the_losses_is_seen(fused_reference, tidy, case):
    fused_reference.outputs("C")
    tidy(*LOSSES[case])

    assert largest_miss(fused_reference) > 1e-3


def test_7_anchors_of_exclusive_pixels_are_seen(fused_reference, tidy):
    tidy(anchors._make_level, ("(anchor_scale * stride - 1) / 2", "anchor_scale * stride / 2"))

    made = anchors.grid_anchors.__wrapped__(
        fused_reference.outputs("A").level_shapes, 8.0, torch.device("cpu")
    )

    assert np.abs(made.numpy() - fused_reference.arrays["A/anchors"]).max() == 0.5


def test_7_suppressing_by_exclusive_pixels_is_seen(tidy):
    # Inclusive pixels: 10 x 10 twice sharing 8 x 10, 80 / 120; exclusive: 9 x 9 sharing 7 x 9, 63 / 99 = 0.636
    boxes, scores = torch.tensor([[0.0, 0, 9, 9], [2.0, 0, 11, 9]]), torch.tensor([0.9, 0.8])
    assert detections.nms_per_label(boxes, scores, torch.zeros(2), 0.65).tolist() == [True, False]

    tidy(box_coder.pairwise_iou, ("high - low + 1", "high - low"))
    tidy(*LESS_ONE)

    assert detections.nms_per_label(boxes, scores, torch.zeros(2), 0.65).tolist() == [True, True]


def test_18_cutting_a_tie_is_seen(tidy):
    tied = torch.tensor([0.9, 0.5, 0.5, 0.5])
    given = (tied, torch.zeros(4), torch.zeros(4, 4), 2)
    assert len(detections._take_best(*given)["scores"]) == 4

    tidy(detections._take_best, ("scores.float() >= lowest", "scores.float() > lowest"))

    assert len(detections._take_best(*given)["scores"]) == 1


def test_6_letting_the_centerness_meet_the_threshold_is_seen(tidy):
    # The class probability 0.06 passes 0.05 however small the centerness; sqrt(0.06 * 1e-4) would not.
    classes, ranks = torch.tensor([[0.06], [0.04]]), torch.tensor([[6e-6], [0.04]])
    given = (classes, ranks, [(1, 2)], detections.DetectionRules())
    assert detections._candidates(*given)[0].tolist() == [0]

    tidy(detections._candidates, ("(classes > rules.threshold)", "(ranks.sqrt() > rules.threshold)"))

    assert detections._candidates(*given)[0].tolist() == [1]


GRID = ((4, 4), (2, 2))


def owners(box: torch.Tensor, top_k: int = 9) -> list[int]:
    """Return which of 16 + 4 anchors are assigned to a box. The references' boxes do not distinguish the rules."""
    made = anchors.grid_anchors(GRID, 2.0, torch.device("cpu"))
    answers = assigner.assign(made, [16, 4], [box[None]], top_k)[0]
    return (answers >= 0).nonzero().flatten().tolist()


def test_10_the_biased_deviation_is_seen(tidy):
    # Two candidates overlapping by 1 and b: mean + deviation is above 1 unbiased, and exactly 1 biased.
    exact = anchors.grid_anchors(GRID, 2.0, torch.device("cpu"))[5]
    assert owners(exact, top_k=1) == []

    tidy(assigner.assign, ("iou_KG.std(dim=0)", "iou_KG.std(dim=0, correction=0)"))

    assert owners(exact, top_k=1) == [5]


def test_10_letting_a_centre_lie_outside_is_seen(tidy):
    before_all_centres = torch.tensor([0.0, 0.0, 3.4, 3.4])
    assert owners(before_all_centres) == []

    tidy(assigner.assign, (" & _center_is_inside(anchors_N4, boxes_G4).gather(0, candidates_KG)", ""))

    assert owners(before_all_centres) != []
