"""`torch.export` exports the forward pass as a graph with the same numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from teacher.models.glip import GlipForGrounding
from teacher.models.glip.anchors import grid_anchors


class Forward(nn.Module):
    """Return the outputs that are tensors of the input, in a fixed order."""

    def __init__(self, model: GlipForGrounding) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values, input_ids, attention_mask):
        found = self.model(pixel_values, None, input_ids, attention_mask)
        return found.token_logits, found.box_deltas, found.centerness_logits, found.anchors


def test_the_exported_graph_gives_the_models_numbers_for_other_images_and_texts(
    small_swin, processor, pictures
):
    def inputs(place: int, text: str) -> tuple[torch.Tensor, ...]:
        made = processor(pictures[place : place + 1], [text], pad=(96, 112))
        return made["pixel_values"], made["input_ids"], made["attention_mask"]

    graph = torch.export.export(Forward(small_swin), inputs(0, "a red square")).module()
    given = inputs(1, "blue circle. triangle")
    with torch.no_grad():
        exported, ours = graph(*given), Forward(small_swin)(*given)

    assert all(torch.equal(a, b) for a, b in zip(exported, ours, strict=True))


@pytest.mark.slow
def test_the_model_compiles_into_one_graph_that_gives_the_same_bits(small_swin, processor, pictures):
    inputs = processor(pictures[:1], ["a red square"], pad=(96, 112))

    # The backend that runs the traced graph as it is; a break of the graph is an error.
    compiled = torch.compile(small_swin, backend="eager", fullgraph=True)

    with torch.no_grad():
        traced, ours = compiled(**inputs), small_swin(**inputs)
    assert torch.equal(traced.token_logits, ours.token_logits) and traced.level_shapes == ours.level_shapes


def test_tracing_leaves_no_stand_ins_in_the_caches():
    class Anchors(nn.Module):
        def forward(self, x):
            return x + grid_anchors(((3, 5), (2, 3)), 6.5, x.device)

    torch.export.export(Anchors(), (torch.zeros(21, 4),))

    made = grid_anchors(((3, 5), (2, 3)), 6.5, torch.device("cpu"))
    assert type(made) is torch.Tensor and made[0].tolist() == [-22, -22, 29, 29]
