"""Options that save time or memory change no number: activation checkpointing, bfloat16, fused attention."""

from __future__ import annotations

import torch

from teacher.models.glip import GlipConfig
from teacher.models.glip.layers.text_encoder import TextLayer, padding_bias

TEXTS = ["a red square", "blue circle. triangle"]


def step(model, batch) -> tuple[float, dict[str, torch.Tensor], int]:
    """Return loss, gradients and bytes stored for the backward pass of one step, with the same random layers."""
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    model.zero_grad()
    torch.manual_seed(3)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(**batch).loss
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in model.named_parameters()}, sum(kept.values())


def test_computing_activations_anew_keeps_less_and_changes_neither_loss_nor_gradient(
    two_blocks, processor, pictures
):
    labels = [{"boxes": torch.tensor([[20.0, 10, 59, 39]]), "positive_map": torch.ones(1, 16)}] * 2
    batch = {**processor(pictures[:2], TEXTS), "labels": labels}
    model = two_blocks.train()
    loss, gradients, kept = step(model, batch)

    model.activation_checkpointing_enable()
    again, anew, less = step(model, batch)

    assert again == loss
    assert all(torch.allclose(anew[name], value, atol=1e-6) for name, value in gradients.items())
    assert less < 0.6 * kept
    model.activation_checkpointing_disable()
    assert step(model, batch)[2] == kept


def test_bfloat16_autocast_gives_float32_outputs_near_the_full_ones(two_blocks, processor, pictures):
    model, inputs = two_blocks, processor(pictures[:2], TEXTS)
    with torch.no_grad():
        full = model(**inputs)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = model(**inputs)

    for name in ("token_logits", "box_deltas", "centerness_logits"):
        assert half[name].dtype == torch.float32
        # single values on maps of one place, which GroupNorm blows up, may be off by more
        assert (half[name] - full[name]).abs().mean() < 0.1 * full[name].abs().mean()


def test_the_texts_fused_attention_is_the_written_out_one():
    torch.manual_seed(0)
    layer = TextLayer(GlipConfig(text_hidden=32, text_heads=4, text_intermediate=32)).double().eval()
    text, mask = torch.randn(2, 6, 32, dtype=torch.float64), torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    bias = padding_bias(mask, text.dtype)

    query, key, value = (layer._split(part(text)) for part in (layer.query, layer.key, layer.value))
    weights = (query @ key.transpose(2, 3) / 8**0.5 + bias).softmax(dim=-1)

    assert torch.allclose(layer._attend(text, bias), (weights @ value).transpose(1, 2).flatten(2), atol=1e-12)
