"""A world of a few images, and rounds on it that take seconds. Their numbers mean nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.demo.initial_model import write_start
from pipelines.demo.world.build import World, build_world
from pipelines.demo.world.settings import WorldSettings
from pipelines.rounds.settings import RoundsConfig

SIZE = WorldSettings(gold_images=6, web_images=8, web_shard_images=4, test_images=4)


@pytest.fixture(scope="session")
def little_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Build gold, web shards and a test set of a few scenes, and a teacher with random weights."""
    world, _ = build_world(tmp_path_factory.mktemp("rounds") / "world", SIZE)
    write_start(world.folder.parent / "teacher", SIZE)
    return world


@pytest.fixture
def rounds_config(little_world: World, tmp_path: Path) -> Callable[..., RoundsConfig]:
    """Return a configuration of one round that no stop rule ends, changed by keyword."""
    mix = {"detection": 0.5, "phrase_list": 0.0, "caption": 0.5}
    compute = {"steps": 2, "batch_size": 2, "warmup_steps": 0, "log_every": 1, "checkpoint_every": 1}

    def training(url: str) -> dict[str, Any]:
        streams = [
            {"url": little_world.gold_view, "share": 0.5, "prompts": mix},
            {"url": url, "share": 0.5, "prompts": mix},
        ]
        return {**compute, "streams": streams}

    def build(**changes: Any) -> RoundsConfig:
        test = little_world.test_coco
        values: dict[str, Any] = {
            "out": str(tmp_path / "rounds"),
            "teacher": {"model": str(little_world.folder.parent / "teacher")},
            "label": {
                "input": {"urls": [str(little_world.folder / "web/*.tar")]},
                "evidence": {
                    "min_score": 0.0,
                    "max_regions_per_phrase": 3,
                },  # a random teacher's scores are low
                "run": {"executor": "local", "batch_size": 4},
            },
            "policy": {"min_score": 0.0, "nms_iou": 0.5, "max_regions_per_phrase": 1},
            "gold": little_world.gold_view,
            "student": training("VIEW"),
            "control": training(little_world.gold_view),
            "evaluate": [
                {
                    "name": "held_out",
                    "gold": str(test),
                    "images": str(test.parent / "images"),
                    "group_by": "supercategory",
                }
            ],
            "target": {"suite": "held_out", "group": "tail"},
            "brakes": {"min_gain": -1.0, "gain_interval": False, "boxes_per_image": 100.0},
            "draws": 20,
        }
        return RoundsConfig.model_validate({**values, **changes})

    return build
