"""A tiny world and a tiny start, shared by the tests of the student."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.views import open_view, write_view
from pipelines.demo.initial_model import write_start
from pipelines.demo.recipe import HARD_NEGATIVES
from pipelines.demo.world.build import World, build_world
from pipelines.demo.world.settings import WorldSettings
from student.settings.streams import PromptMix, StreamSettings
from student.settings.train import TrainSettings

WORLD = WorldSettings(seed=1, gold_images=20, web_images=0, test_images=4)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build_world(tmp_path_factory.mktemp("world"), WORLD)[0]


@pytest.fixture(scope="session")
def tiny_start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_start(tmp_path_factory.mktemp("start"), WORLD)


@pytest.fixture
def two_streams(tiny_world: World, tiny_start: Path, tmp_path: Path) -> TrainSettings:
    """Return a run in the student's form with gold in every slot, as the control is."""
    gold = StreamSettings(url=tiny_world.gold_view, share=0.3)
    other = StreamSettings(
        url=tiny_world.gold_view, share=0.7, prompts=PromptMix(detection=0.75, phrase_list=0, caption=0.25)
    )
    return TrainSettings(
        start=str(tiny_start),
        out=str(tmp_path / "run"),
        streams=(gold, other),
        hard_negatives=HARD_NEGATIVES,
        steps=6,
        batch_size=4,
        warmup_steps=2,
        log_every=1,
        checkpoint_every=2,
        tensorboard=False,
        seed=5,
    )


@pytest.fixture
def pseudo_view(tiny_world: World, tmp_path: Path) -> str:
    """Write gold's rows as a teacher might have labeled them: the last phrase of each has no box."""
    rows = []
    for row in open_view(tiny_world.gold_view).rows():
        last = len(row["phrases"]) - 1
        row["phrases"][last]["fate"] = "unresolved"
        row["regions"] = [region for region in row["regions"] if region["phrase"] != last]
        rows.append(row)
    write_view(str(tmp_path / "pseudo"), rows, kind="view", provenance={})
    return str(tmp_path / "pseudo")
