"""A recipe so small that its cells take seconds, and a way to run cells in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.headline.cells import Cell, CellStore
from benchmarks.headline.worker import run_spec, spec_of
from pipelines.demo.recipe import Recipe
from pipelines.demo.world.settings import WorldSettings


@pytest.fixture(scope="session")
def tiny() -> Recipe:
    world = WorldSettings(gold_images=16, web_images=24, web_shard_images=12, test_images=4)
    return Recipe(teacher_steps=2, student_steps=2, batch_size=2, world_size=world)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> CellStore:
    return CellStore(tmp_path_factory.mktemp("grid"))


@pytest.fixture(scope="session")
def run_here(store: CellStore) -> Callable[[Cell], Path]:
    """Run a cell and what it needs in this process; returns its folder."""

    def run(cell: Cell) -> Path:
        for needed in store.missing([cell]):
            run_spec(spec_of(needed, store))
        return store.folder(cell)

    return run
