"""The model as a whole: contracts of its outputs, saving, batching, learning."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForZeroShotObjectDetection, AutoProcessor

from teacher.models.glip import GlipConfig, GlipForGrounding, GlipModel, GlipProcessor, tiny_world

TEXTS = ["a red square", "blue circle. triangle", "the red triangle on a circle"]


def run(model, inputs, **labels):
    with torch.no_grad():
        return model(**inputs, **labels)


def test_importing_the_package_imports_neither_torch_nor_transformers():
    check = (
        "import sys, teacher.models.glip; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


def test_outputs_have_the_promised_shapes(tiny_model, processor, pictures):
    outputs = run(tiny_model, processor(pictures, TEXTS, pad=(96, 96)))

    assert outputs.level_shapes == ((12, 12), (6, 6), (3, 3))
    assert outputs.token_logits.shape == (3, 189, 16)
    assert outputs.box_deltas.shape == (3, 189, 4)
    assert outputs.centerness_logits.shape == (3, 189)
    assert outputs.anchors.shape == (189, 4)
    assert outputs.loss is None


def test_the_tiny_world_model_has_about_a_million_parameters(tiny_model):
    assert 0.9e6 < sum(parameter.numel() for parameter in tiny_model.parameters()) < 1.5e6


def test_outputs_are_float32_under_autocast_and_the_inputs_dtype_otherwise(tiny_model, processor, pictures):
    inputs = processor(pictures[:1], TEXTS[:1])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = run(tiny_model, inputs)
    inputs["pixel_values"] = inputs["pixel_values"].double()
    double = run(tiny_model.double(), inputs)

    for name in ("token_logits", "box_deltas", "centerness_logits", "anchors"):
        assert mixed[name].dtype == torch.float32
        assert double[name].dtype == torch.float64
    assert torch.allclose(mixed.token_logits.double(), double.token_logits, atol=0.2)


def test_the_pixel_mask_never_enters_the_forward_pass(tiny_model, processor, pictures):
    inputs = processor(pictures, TEXTS)
    plain = run(tiny_model, inputs).token_logits
    inputs["pixel_mask"] = torch.zeros_like(inputs["pixel_mask"])

    assert torch.equal(run(tiny_model, inputs).token_logits, plain)


def test_a_batch_equals_its_images_one_by_one(tiny_model, processor, pictures):
    together = run(tiny_model, processor(pictures, TEXTS, pad=(96, 96)))

    for index in range(3):
        alone = run(
            tiny_model, processor(pictures[index : index + 1], TEXTS[index : index + 1], pad=(96, 96))
        )
        for name in ("token_logits", "box_deltas", "centerness_logits"):
            assert torch.allclose(alone[name][0], together[name][index], atol=1e-5)


def test_more_padding_of_the_text_changes_no_tokens_score(tiny_model, processor, pictures):
    narrow = run(tiny_model, processor(pictures, TEXTS, text_width=10))
    wide = run(tiny_model, processor(pictures, TEXTS, text_width=16))

    assert torch.allclose(narrow.token_logits, wide.token_logits[..., :10], atol=1e-5)
    assert torch.allclose(narrow.box_deltas, wide.box_deltas, atol=1e-5)


def test_a_blank_row_without_any_token_gives_finite_numbers_and_leaves_its_mates_alone(
    tiny_model, processor, pictures
):
    inputs = processor(pictures, TEXTS)
    plain = run(tiny_model, inputs)
    inputs["attention_mask"][2] = 0
    blank = run(tiny_model, inputs)

    assert blank.token_logits.isfinite().all()
    assert torch.equal(blank.token_logits[:2], plain.token_logits[:2])


def test_fusion_lets_the_text_move_the_boxes_and_its_absence_does_not(processor, pictures):
    inputs, other = (processor(pictures[:1], [text]) for text in TEXTS[:2])
    config = tiny_world(len(processor.tokenizer)).to_dict()
    fused, separate = (
        GlipForGrounding(GlipConfig(**{**config, "fusion": fusion})).eval() for fusion in (True, False)
    )

    assert not torch.equal(run(fused, inputs).box_deltas, run(fused, other).box_deltas)
    assert torch.equal(run(separate, inputs).box_deltas, run(separate, other).box_deltas)


def test_saving_and_loading_gives_the_same_bits_back(tiny_model, processor, pictures, tmp_path):
    tiny_model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    inputs = processor(pictures, TEXTS)

    loaded = AutoModelForZeroShotObjectDetection.from_pretrained(tmp_path).eval()
    loaded_processor = AutoProcessor.from_pretrained(tmp_path)

    assert (tmp_path / "model.safetensors").is_file()
    assert isinstance(loaded, GlipForGrounding)
    assert isinstance(loaded_processor, GlipProcessor)
    assert AutoConfig.from_pretrained(tmp_path).to_dict() == loaded.config.to_dict()
    assert tiny_model.state_dict().keys() == loaded.state_dict().keys()
    assert torch.equal(run(loaded, inputs).token_logits, run(tiny_model, inputs).token_logits)
    again = loaded_processor(pictures, TEXTS)
    assert all(torch.equal(again[name], inputs[name]) for name in inputs)


def test_a_batch_of_the_authors_parts_equals_its_images_padded_alike(small_swin, processor, pictures):
    """Return three captions and images that fill their padding to different degrees."""
    cut = [picture[: 96 - 16 * n] for n, picture in enumerate(pictures)]
    together = run(small_swin, processor(cut, TEXTS, pad=(96, 128)))

    for index in range(3):
        alone = run(small_swin, processor(cut[index : index + 1], TEXTS[index : index + 1], pad=(96, 128)))
        for name in ("token_logits", "box_deltas", "centerness_logits"):
            assert torch.allclose(alone[name][0], together[name][index], atol=1e-5)


def test_the_swin_and_deformable_model_survives_saving_too(small_swin, tmp_path, processor, pictures):
    inputs = processor(pictures[:1], TEXTS[:1])

    small_swin.save_pretrained(tmp_path)

    loaded = GlipForGrounding.from_pretrained(tmp_path).eval()
    assert torch.equal(run(loaded, inputs).token_logits, run(small_swin, inputs).token_logits)


def test_a_model_that_has_labeled_in_inference_mode_can_still_train(small_swin, processor, pictures):
    inputs = processor(pictures[:1], TEXTS[:1], pad=(104, 120))  # a size that no other test caches
    labels = [{"boxes": torch.tensor([[20.0, 10, 59, 39]]), "positive_map": torch.ones(1, 16)}]
    with torch.inference_mode():
        small_swin(**inputs)

    small_swin.train()(**inputs, labels=labels).loss.backward()

    assert small_swin.model.backbone.patches.weight.grad.isfinite().all()


def test_dropouts_are_drawn_in_training_and_off_in_evaluation(small_swin, processor, pictures):
    inputs = processor(pictures[:1], TEXTS[:1])

    assert torch.equal(run(small_swin, inputs).token_logits, run(small_swin, inputs).token_logits)
    small_swin.train()
    assert not torch.equal(run(small_swin, inputs).token_logits, run(small_swin, inputs).token_logits)


def test_the_backbone_alone_loads_from_a_grounding_directory(tiny_model, tmp_path, processor, pictures):
    tiny_model.save_pretrained(tmp_path)
    inputs = processor(pictures, TEXTS)
    del inputs["pixel_mask"]

    loaded = AutoModel.from_pretrained(tmp_path).eval()

    assert isinstance(loaded, GlipModel)
    assert torch.equal(run(loaded, inputs).text, run(tiny_model.model, inputs).text)


def test_start_values_follow_the_configuration(tiny_model):
    assert tiny_model.alignment.log_scale.item() == pytest.approx(-1.6)
    assert tiny_model.alignment.bias.item() == pytest.approx(-4.595, abs=1e-3)
    assert tiny_model.alignment.image_projection.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert tiny_model.model.blocks[0].fusion.image_gate.unique().tolist() == pytest.approx([0.1])
    assert torch.equal(tiny_model.box_head.level_scales[2], torch.ones(1))


def test_a_few_steps_teach_the_model_a_batch(tiny_model, processor, pictures):
    inputs = processor(pictures, ["red square"] * 3)
    phrase = processor.phrase_tokens("red square", [[(0, 10)]])
    rows = processor.positive_map(phrase, 16)
    places = [[20.0, 10 + 20 * place, 59, 39 + 20 * place] for place in range(3)]
    labels = [{"boxes": torch.tensor([place]), "positive_map": rows} for place in places]
    optimizer = torch.optim.AdamW(tiny_model.parameters(), lr=2e-3)
    tiny_model.train()

    losses = []
    for _ in range(40):
        outputs = tiny_model(**inputs, labels=labels)
        optimizer.zero_grad()
        outputs.loss.backward()
        torch.nn.utils.clip_grad_norm_(tiny_model.parameters(), 1.0)
        optimizer.step()
        losses.append(outputs.loss.item())

    assert outputs.loss.item() == pytest.approx(
        sum(value.item() for value in outputs.loss_dict.values()), rel=1e-6
    )
    assert losses[-1] < 0.4 * losses[0]


def test_every_parameter_learns(tiny_model, processor, pictures):
    inputs = processor(pictures, TEXTS)
    labels = [{"boxes": torch.tensor([[20.0, 10, 59, 39]]), "positive_map": torch.ones(1, 16)}] * 3

    tiny_model.train()(**inputs, labels=labels).loss.backward()

    assert [name for name, parameter in tiny_model.named_parameters() if parameter.grad is None] == []


def test_a_prompt_beyond_the_encoders_positions_is_refused_with_a_remedy(tiny_model, processor, pictures):
    inputs = processor(pictures[:1], TEXTS[:1], text_width=65)

    with pytest.raises(ValueError, match="65 tokens.*64 positions.*split"):
        tiny_model(**inputs)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"text_heads": 7}, "768 is not a multiple of 7"),
        ({"num_levels": 2}, "num_levels is 2"),
        ({"swin_depths": (2, 2)}, "4 stages"),
        ({"prior_probability": 1.0}, "prior_probability"),
    ],
)
def test_a_configuration_that_cannot_be_built_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        GlipConfig(**wrong)


def test_a_batch_without_images_gives_outputs_without_rows(small_swin, processor):
    no_text = torch.zeros(0, 16, dtype=torch.long)

    outputs = run(
        small_swin,
        {"pixel_values": torch.zeros(0, 3, 96, 96), "input_ids": no_text, "attention_mask": no_text},
    )

    assert outputs.token_logits.shape == (0, 194, 16) and outputs.box_deltas.shape == (0, 194, 4)
    assert processor.post_process_grounded_object_detection(outputs, [], []) == []


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 300)])
def test_images_of_any_shape_give_finite_numbers(small_swin, processor, size):
    inputs = processor([np.full((*size, 3), 200, np.uint8)], TEXTS[:1])

    outputs = run(small_swin, inputs)

    assert all(outputs[name].isfinite().all() for name in ("token_logits", "box_deltas", "centerness_logits"))


def test_texts_that_are_not_as_many_as_the_images_are_refused(tiny_model, processor, pictures):
    one, two = processor(pictures[:1], TEXTS[:1]), processor.tokens(TEXTS[:2])

    with pytest.raises(ValueError, match=r"1 images, input_ids \[2, 16\]"):
        tiny_model(**{**one, **two})
    with pytest.raises(ValueError, match=r"input_ids \[1, 16\], attention_mask \[2, 16\]"):
        tiny_model(**{**one, "attention_mask": two["attention_mask"]})
    with pytest.raises(ValueError, match="needs input_ids"):
        tiny_model(one["pixel_values"])


@pytest.mark.parametrize("text", ["", "😀 é ﷽ \u200b\x00", "red " * 14])
def test_texts_of_any_kind_give_finite_numbers(tiny_model, processor, pictures, text):
    assert run(tiny_model, processor(pictures[:1], [text])).token_logits.isfinite().all()


@pytest.mark.parametrize("name", ["tiny_model", "small_swin"])
def test_every_tensor_that_the_model_makes_is_made_where_its_input_lies(request, name):
    """Runs on the meta device, which has no numbers: a tensor from another device makes the operation fail."""
    model, text = request.getfixturevalue(name).to("meta"), torch.ones(2, 16, dtype=torch.long, device="meta")

    features = model.model(torch.zeros(2, 3, 104, 88, device="meta"), text, text)
    outputs = model._heads(features, text.device)  # apart: autocast does not know the meta device

    assert all(value.is_meta for value in outputs.values() if isinstance(value, torch.Tensor))


def test_odd_sizes_are_padded_where_they_arise(small_swin, processor):
    inputs = processor.tokens(TEXTS[:1])

    outputs = run(small_swin, {"pixel_values": torch.randn(1, 3, 75, 101), **inputs})

    # ceil of the side over 4, 8, 16, 32, then of half the level before
    assert outputs.level_shapes == ((10, 13), (5, 7), (3, 4), (2, 2), (1, 1))
    assert outputs.token_logits.isfinite().all()


def test_a_residual_tower_adds_each_blocks_input(tiny_model):
    block = tiny_model.model.blocks[0].dynamic_conv
    levels = [torch.randn(1, 64, side, side) for side in (12, 6, 3)]

    with torch.no_grad():
        added = block(levels)
        block.residual = False
        plain = block(levels)

    assert all(torch.equal(a, b + c) for a, b, c in zip(added, plain, levels, strict=True))
