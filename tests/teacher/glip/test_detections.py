"""Post-processing by the authors' rules: NMS, thresholds, ties, clipping and labels."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import EmptyPhraseError
from teacher.models.glip import GlipProcessor
from teacher.models.glip.anchors import grid_anchors
from teacher.models.glip.box_coder import pairwise_iou
from teacher.models.glip.nms import nms, nms_per_label, plain_nms
from teacher.models.glip.outputs import GlipGroundingOutput

SHAPES = ((4, 4), (2, 2), (1, 1))
LOCATIONS = 21


def outputs(images: int = 1, tokens: int = 6) -> GlipGroundingOutput:
    """Return outputs without detections: probability below any threshold, centerness one half, boxes = anchors."""
    return GlipGroundingOutput(
        token_logits=torch.full((images, LOCATIONS, tokens), -20.0),
        box_deltas=torch.zeros(images, LOCATIONS, 4),
        centerness_logits=torch.zeros(images, LOCATIONS),
        anchors=grid_anchors(SHAPES, 1.0, torch.device("cpu")),
        level_shapes=SHAPES,
    )


def probability(value: float) -> torch.Tensor:
    return torch.tensor(value).logit()


def post_process(found: GlipGroundingOutput, phrases: list[list[int]], **rules):
    sizes = [(32, 32)] * len(found.token_logits)
    return GlipProcessor.post_process_grounded_object_detection(found, [phrases] * len(sizes), sizes, **rules)


def greedy(boxes: torch.Tensor, scores: torch.Tensor, iou_above: float) -> list[bool]:
    kept: list[int] = []
    for index in scores.argsort(descending=True, stable=True).tolist():
        if all(pairwise_iou(boxes[[index]], boxes[[other]]) <= iou_above for other in kept):
            kept.append(index)
    return [index in kept for index in range(len(boxes))]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 25), st.sampled_from([0.1, 0.3, 0.6]))
def test_suppression_equals_the_one_by_one_loop(seed, count, iou_above):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.randint(0, 30, (count, 2), generator=generator)
    boxes = torch.cat((corner, corner + torch.randint(5, 30, (count, 2), generator=generator)), dim=1).float()
    scores = torch.randint(0, 8, (count,), generator=generator).float()  # many ties

    assert nms(boxes, scores, iou_above).tolist() == greedy(boxes, scores, iou_above)
    assert plain_nms(boxes, scores, iou_above, block=4).tolist() == greedy(boxes, scores, iou_above)


def test_from_an_overlap_of_one_on_nothing_is_suppressed():
    boxes = torch.tensor([[0.0, 0, 9, 9]] * 3)

    assert nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 1.0).all()
    assert nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.999).tolist() == [True, False, False]


def test_a_label_suppresses_only_its_own():
    boxes = torch.tensor([[0.0, 0, 9, 9]] * 3)

    stays = nms_per_label(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 1, 0]), 0.6)

    assert stays.tolist() == [True, True, False]


def test_an_overlap_of_exactly_the_limit_is_not_suppressed():
    # 10 x 10 pixels sharing 6 x 10 of 14 x 10: 60 / 140; inclusive pixels decide
    boxes = torch.tensor([[0.0, 0, 9, 9], [4.0, 0, 13, 9]])
    scores = torch.tensor([0.9, 0.8])

    assert nms(boxes, scores, float(torch.tensor(60.0) / 140)).tolist() == [True, True]
    assert nms(boxes, scores, 0.42).tolist() == [True, False]


def test_a_phrases_score_is_the_mean_of_its_tokens_times_centerness_under_a_root():
    found = outputs()
    found.token_logits[0, 5, [2, 3]] = torch.stack([probability(0.8), probability(0.4)])
    found.centerness_logits[0, 5] = probability(0.5)

    (result,) = post_process(found, [[1], [2, 3]])

    assert result["labels"].tolist() == [1]
    assert result["scores"].tolist() == pytest.approx([(0.6 * 0.5) ** 0.5], rel=1e-6)


def test_only_the_phrase_score_meets_the_threshold_not_centerness():
    found = outputs()
    found.token_logits[0, [3, 7], 1] = torch.stack([probability(0.06), probability(0.04)])
    found.centerness_logits[0] = probability(0.01)

    (result,) = post_process(found, [[1]], threshold=0.05)

    assert result["scores"].tolist() == pytest.approx([(0.06 * 0.01) ** 0.5], rel=1e-5)


def test_boxes_are_clipped_to_the_image_inside_its_padding():
    found = outputs()
    found.token_logits[0, 20, 0] = 5.0  # the 32-pixel anchor
    found.box_deltas[0, 20] = torch.tensor([0.0, 0.0, 5.0, 5.0])

    (result,) = GlipProcessor.post_process_grounded_object_detection(found, [[[0]]], [(20, 30)])

    assert result["boxes"].tolist() == [[0, 0, 29, 19]]


def test_boxes_are_scaled_to_the_target_size():
    found = outputs()
    found.token_logits[0, 0, 0] = 5.0  # the anchor [0, 0, 7, 7]

    (result,) = GlipProcessor.post_process_grounded_object_detection(found, [[[0]]], [(32, 32)], [(64, 96)])

    assert result["boxes"].tolist() == [[0, 0, 21, 14]]


def test_all_that_tie_with_the_last_place_are_kept():
    found = outputs()
    found.token_logits[0, :5, 0] = torch.tensor([5.0, 4.0, 3.0, 3.0, 3.0])

    (result,) = post_process(found, [[0]], max_detections=3)

    assert len(result["scores"]) == 5
    assert result["scores"].tolist() == sorted(result["scores"].tolist(), reverse=True)


def test_each_level_offers_its_best_candidates_only():
    found = outputs()
    found.token_logits[0, :, 0] = torch.linspace(5, 3, LOCATIONS)

    (result,) = post_process(found, [[0]], pre_nms_top_k=2, nms_iou=1.0)

    assert len(result["scores"]) == 2 + 2 + 1


def test_each_image_is_read_with_its_own_phrases():
    found = outputs(images=2)
    found.token_logits[0, 4, 1] = 5.0
    found.token_logits[1, 9, 3] = 5.0

    first, second = GlipProcessor.post_process_grounded_object_detection(
        found, [[[1]], [[2], [3]]], [(32, 32)] * 2
    )

    assert (first["labels"].tolist(), second["labels"].tolist()) == ([0], [1])


def test_an_image_without_candidates_or_without_phrases_gives_empty_tensors():
    nothing, unasked = (post_process(outputs(), phrases)[0] for phrases in ([[1]], []))

    for result in (nothing, unasked):
        assert [tuple(result[name].shape) for name in ("scores", "labels", "boxes")] == [(0,), (0,), (0, 4)]


@pytest.mark.parametrize("tokens", [[], [6], [-1]])
def test_a_phrase_without_a_token_of_the_prompt_raises(tokens):
    with pytest.raises(EmptyPhraseError, match="phrase 1"):
        post_process(outputs(), [[1], tokens])
