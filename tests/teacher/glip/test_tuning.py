"""Tuning modes: which parts train, which stay equal to the bit, and the one prompt of a tuned model."""

from __future__ import annotations

import pytest
import torch

from schemas.errors import ConfigError
from teacher.models.glip import GlipConfig, GlipForGrounding
from teacher.models.glip.tuning import add_prompt_offset, tune

PROMPT = "red circle. blue square"


@pytest.fixture
def batch(processor, pictures):
    inputs = processor(pictures, [PROMPT] * 3)
    (rows,) = (processor.positive_map(processor.phrase_tokens(PROMPT, [[(0, 10)]]), 16),)
    labels = [
        {"boxes": torch.tensor([[20.0, 10 + 20 * n, 59, 39 + 20 * n]]), "positive_map": rows}
        for n in range(3)
    ]
    return {**inputs, "labels": labels}


def learn(model: GlipForGrounding, batch, steps: int = 3) -> None:
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()


def changed(model: GlipForGrounding, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


MODES = [
    ("linear", {"alignment", "box_head.box", "box_head.centerness"}),
    ("language", {"model.text_encoder"}),
    ("prompt", {"model.prompt_offset"}),
]


@pytest.mark.parametrize(("mode", "parts"), MODES)
def test_only_the_modes_own_parts_change_and_running_averages_stand_still(
    tiny_model, processor, batch, mode, parts
):
    if mode == "prompt":
        add_prompt_offset(tiny_model, processor, PROMPT)
    tuning = tune(tiny_model, mode)
    before = {name: value.clone() for name, value in tiny_model.state_dict().items()}

    learn(tiny_model, batch)

    moved = changed(tiny_model, before)
    assert {part for part in parts if any(name.startswith(part) for name in moved)} == parts
    assert all(name.startswith(tuple(parts)) for name in moved)
    of_parts = [p for name, p in tiny_model.named_parameters() if name.startswith(tuple(parts))]
    assert tuning.learned == sum(p.numel() for p in of_parts)
    assert f"tuning {mode}: {tuning.learned:,} of {tuning.total:,}" in str(tuning)


def test_full_tuning_trains_every_parameter_and_every_layer(tiny_model):
    tuning = tune(tiny_model.eval(), "full")

    assert tuning.learned == tuning.total
    assert all(module.training for module in tiny_model.modules())


def test_the_frozen_parts_draw_no_dropout(tiny_model, processor, batch):
    tiny_model.model.blocks[0].fusion.dropout = 0.5
    tune(tiny_model, "linear")

    first, second = (tiny_model(**batch).loss.item() for _ in range(2))

    assert first == second


def test_offsets_of_zero_change_nothing_and_learned_ones_lower_the_loss(tiny_model, processor, batch):
    plain = tiny_model(**batch).loss.item()
    add_prompt_offset(tiny_model, processor, PROMPT)
    tune(tiny_model, "prompt")

    start = tiny_model(**batch).loss.item()
    learn(tiny_model, batch, steps=8)

    assert start == plain
    assert tiny_model(**batch).loss.item() < 0.98 * start


def test_the_number_that_learns_is_one_row_per_token_place(tiny_model, processor):
    add_prompt_offset(tiny_model, processor, PROMPT)

    assert tune(tiny_model, "prompt").learned == 16 * 64


def test_without_an_offset_prompt_tuning_says_so(tiny_model):
    with pytest.raises(ConfigError, match="no parameter would be trained"):
        tune(tiny_model, "prompt")


def test_a_saved_prompt_tuned_model_remembers_its_prompt_and_refuses_another(
    tiny_model, processor, pictures, batch, tmp_path
):
    add_prompt_offset(tiny_model, processor, PROMPT)
    tune(tiny_model, "prompt")
    learn(tiny_model, batch)
    tiny_model.save_pretrained(tmp_path)

    loaded = GlipForGrounding.from_pretrained(tmp_path).eval()
    blank_and_own = processor(pictures[:2], ["", PROMPT])
    with torch.no_grad():
        logits = loaded(**blank_and_own).token_logits
        expected = tiny_model.eval()(**blank_and_own).token_logits

    assert loaded.config.tuned_prompt == PROMPT and torch.equal(logits, expected)
    for other in ("red circle", "red circle. blue square. triangle", "blue square. red circle"):
        with pytest.raises(ConfigError, match="'red circle. blue square' alone"):
            loaded(**processor(pictures[:2], [PROMPT, other]))
    with pytest.raises(ConfigError, match="not for 'a dog'"):
        add_prompt_offset(loaded, processor, "a dog")


def test_the_offset_is_added_to_every_token_before_the_tower(tiny_model, processor, pictures):
    add_prompt_offset(tiny_model, processor, PROMPT)
    inputs = processor(pictures[:1], [PROMPT])
    text = tiny_model.model.text_encoder(inputs["input_ids"], inputs["attention_mask"])
    with torch.no_grad():
        tiny_model.model.prompt_offset.table += torch.arange(16.0)[:, None]

    moved = tiny_model.model.prompt_offset(text, inputs["input_ids"], inputs["attention_mask"])

    assert torch.allclose((moved - text)[0, :, 0], torch.arange(16.0), atol=1e-5)


def test_a_prompt_that_does_not_fit_is_refused(tiny_model, processor):
    with pytest.raises(ConfigError, match="20 tokens, the model takes 16"):
        add_prompt_offset(tiny_model, processor, "red " * 18)


def test_offsets_without_their_prompt_are_no_configuration():
    with pytest.raises(ValueError, match="belong together"):
        GlipConfig(prompt_offset_tokens=16)
