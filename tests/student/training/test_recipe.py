"""The GLIP authors' recipe: who learns how fast, what decays, what is frozen, what drops, and when."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from student.settings.train import TrainSettings
from student.training.distributed import TrainingGroup
from student.training.optimizer import freeze, make_optimizer, parameter_groups, set_rates
from student.training.schedule import learning_rate, weight_decay
from student.training.train import train
from student.training.trainer import Trainer
from teacher.models.glip import GlipForGrounding
from teacher.models.glip.checkpoint.official_keys import translate_key
from teacher.models.glip.config import GlipConfig

SMALL_GLIP = GlipConfig(
    swin_embed_dim=8,
    swin_depths=(1, 1, 1, 1),
    swin_heads=(1, 1, 2, 2),
    channels=16,
    vocab_size=30,
    text_hidden=16,
    text_layers=1,
    text_heads=2,
    text_intermediate=16,
    text_positions=16,
    num_blocks=1,
    fusion_width=16,
    fusion_heads=2,
    dyrelu_reduction=4,
)


def by_recipe(settings: TrainSettings, recipe: str, **given: object) -> TrainSettings:
    """Return the settings of a configuration that gives only a recipe and the data."""
    needed = settings.model_dump(include={"start", "out", "streams", "log_every"})
    return TrainSettings.model_validate({**needed, "steps": 90_000, "recipe": recipe, **given})


def test_the_authors_groups_of_a_small_glip(two_streams: TrainSettings) -> None:
    groups = parameter_groups(GlipForGrounding(SMALL_GLIP), by_recipe(two_streams, "glip"))

    assert {(group.name, round(group.rate, 6), group.decayed) for group in groups} == {
        ("backbone, weights", 1.0, True),
        ("backbone, biases", 2.0, False),
        ("text encoder, weights", 0.1, True),
        ("text encoder, biases", 0.2, False),
        ("tower and heads, weights", 1.0, True),
        ("tower and heads, biases", 2.0, False),
    }
    plain = {name for group in groups if not group.decayed for name, _ in group.parameters}
    assert "model.backbone.stages.0.blocks.0.attention.position_bias.table" in plain
    assert {"alignment.text_bias", "alignment.bias"} <= plain
    assert not {"model.backbone.norms.0.weight", "alignment.log_scale"} & plain


def test_every_parameter_that_learns_is_in_one_group(two_streams: TrainSettings) -> None:
    model = GlipForGrounding(SMALL_GLIP)
    for recipe in ("plain", "glip", "glip_l"):
        settings = by_recipe(two_streams, recipe)
        freeze(model, settings)
        named = [name for group in parameter_groups(model, settings) for name, _ in group.parameters]
        assert sorted(named) == sorted(
            name for name, value in model.named_parameters() if value.requires_grad
        )


def test_a_bias_here_is_a_bias_of_the_authors(shared_parity: Path) -> None:
    for file in ("keys_glip_t.json", "keys_glip_l.json"):
        official = json.loads((shared_parity / file).read_text())["keys"]
        named = {key: translate_key(key, fusion=True) for key in official}
        wrong = [key for key, ours in named.items() if ours and ("bias" in key) != ("bias" in ours)]
        assert named and not wrong


def test_the_authors_schedule(two_streams: TrainSettings) -> None:
    settings = by_recipe(two_streams, "glip")
    rates = {step: learning_rate(step, settings) for step in (0, 1000, 2000, 60_299, 60_300, 80_100, 89_999)}

    assert rates == pytest.approx(
        {
            0: 1e-7,
            1000: 1e-4 * (0.001 * 0.5 + 0.5),
            2000: 1e-4,
            60_299: 1e-4,
            60_300: 1e-5,
            80_100: 1e-6,
            89_999: 1e-6,
        }
    )
    assert {weight_decay(step, settings) for step in rates} == {1e-4}


def test_the_large_models_weight_decay_falls_before_its_rate(two_streams: TrainSettings) -> None:
    settings = by_recipe(two_streams, "glip_l", steps=1000)
    first = round(0.667 * 670)

    assert weight_decay(first - 1, settings) == pytest.approx(0.01)
    assert weight_decay(first + 1, settings) == pytest.approx(0.001)
    assert weight_decay(999, settings) == pytest.approx(0.0001)


def test_a_group_gets_its_share_of_the_rate(two_streams: TrainSettings) -> None:
    settings = by_recipe(two_streams, "glip")
    groups = parameter_groups(GlipForGrounding(SMALL_GLIP), settings)
    optimizer = make_optimizer(groups, settings)
    set_rates(optimizer, 1.0, 0.5)

    found = {
        group.name: (given["lr"], given["weight_decay"])
        for group, given in zip(groups, optimizer.param_groups, strict=True)
    }
    assert found["text encoder, biases"] == (pytest.approx(0.2), 0.0)
    assert found["tower and heads, weights"] == (1.0, 0.5)


def test_the_large_models_stem_and_first_stage_are_frozen(two_streams: TrainSettings) -> None:
    model = GlipForGrounding(SMALL_GLIP).train()
    freeze(model, by_recipe(two_streams, "glip_l"))

    frozen = {name for name, value in model.named_parameters() if not value.requires_grad}
    assert {name.split(".")[2] for name in frozen} == {"patches", "patch_norm", "stages"}
    assert {name.split(".")[3] for name in frozen if ".stages." in name} == {"0"}
    assert not model.model.backbone.stages[0].blocks[0].training and model.model.backbone.stages[1].training


def test_frozen_batch_norms_keep_their_averages(two_streams: TrainSettings) -> None:
    def averages(settings: TrainSettings) -> torch.Tensor:
        state = Trainer(settings, TrainingGroup())
        norm = next(module for module in state.model.modules() if isinstance(module, nn.BatchNorm2d))
        train(settings)
        trained = GlipForGrounding.from_pretrained(Path(settings.out) / "model")
        after = next(module for module in trained.modules() if isinstance(module, nn.BatchNorm2d))
        return (norm.running_mean - after.running_mean).abs().max()

    short = two_streams.model_copy(update={"steps": 1})
    frozen = short.model_copy(update={"freeze_batch_norm": True, "out": short.out + "-frozen"})
    assert averages(frozen) == 0 < averages(short)


def test_the_recipe_sets_the_random_layers_and_what_is_named_goes_before_it(
    two_streams: TrainSettings,
) -> None:
    settings = by_recipe(two_streams, "glip", drop_path=0.05, batch_size=8)
    config = Trainer(settings, TrainingGroup()).model.config

    assert (config.drop_path_rate, config.text_dropout, config.fusion_dropout) == (0.05, 0.1, 0.1)
    assert (config.dropblock_rate, settings.batch_size, settings.precision) == (0.3, 8, "bf16")


def test_a_run_says_its_groups(two_streams: TrainSettings) -> None:
    report = train(two_streams.model_copy(update={"steps": 1}))

    assert report["parameter_groups"][0].startswith("backbone, weights: ")
    assert sum(" tensors, learning rate x 1, " in line for line in report["parameter_groups"]) >= 4


def test_random_layers_draw_the_same_after_a_kill(two_streams: TrainSettings) -> None:
    """Dropout is seeded by step and place, so a resumed run needs no state of the generator."""
    settings = two_streams.model_copy(update={"dropout": 0.1, "steps": 4, "accumulate": 2})
    whole = train(settings.model_copy(update={"out": settings.out + "-calm"}))
    steps = iter(range(100))
    with pytest.raises(KeyboardInterrupt):
        train(settings, stop=lambda: next(steps) == 2)

    assert train(settings)["model_sha256"] == whole["model_sha256"]


def test_a_batch_that_cannot_be_divided_is_refused(two_streams: TrainSettings) -> None:
    with pytest.raises(ValidationError, match="must be a multiple of workers x accumulate .3 x 1."):
        TrainSettings.model_validate({**two_streams.model_dump(), "workers": 3})
