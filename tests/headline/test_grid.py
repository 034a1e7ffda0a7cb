"""The grid runs what is missing, in processes that never outlive it, and says what it could not do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.headline.cells import Cell, CellStore
from benchmarks.headline.grid import Grid
from schemas.errors import ConflictError


def web(seed: int, images: int = 3) -> Cell:
    return Cell("web", f"seed {seed} web", {"seed": seed, "web_images": images})


def shuffled(source: Cell) -> Cell:
    return Cell("recaptioned", "shuffled", {"captions": "shuffled", "seed": 1}, {"web": source})


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    store, told = CellStore(tmp_path), list[str]()
    targets = [shuffled(web(1)), web(2)]

    assert Grid(store, say=told.append).run(targets)
    records = [path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("cell.json"))]
    assert Grid(store, say=told.append).run(targets)

    assert len(records) == 3 and told[-1].startswith("0 cells to run")
    assert records == [path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("cell.json"))]


def test_a_failed_cell_stops_only_what_needs_it_and_is_tried_again(tmp_path: Path) -> None:
    store = CellStore(tmp_path)
    broken, sound = web(1, images=-1), web(2)
    needing = shuffled(broken)

    assert not Grid(store, say=lambda line: None).run([needing, sound])

    assert store.record(sound) and store.record(needing) is None
    assert "web_images" in (store.failure(broken) or "")
    assert [cell.kind for cell in store.missing([needing, sound])] == ["web", "recaptioned"]


def test_after_its_time_a_grid_ends_its_cells_and_the_next_goes_on(tmp_path: Path) -> None:
    store, cell = CellStore(tmp_path), web(1, images=2000)

    assert not Grid(store, until_s=0.1, say=lambda line: None).run([cell])
    assert store.record(cell) is None and store.failure(cell) is None
    small = web(1)

    assert Grid(store, say=lambda line: None).run([small])


def test_two_grids_never_share_a_folder(tmp_path: Path) -> None:
    class Nosy(Grid):
        def _look(self) -> None:
            with pytest.raises(ConflictError, match="another run works"):
                Grid(self.store, say=lambda line: None).run([web(2)])
            super()._look()

    assert Nosy(CellStore(tmp_path), say=lambda line: None).run([web(1)])


def test_a_killed_grid_leaves_no_process_and_loses_only_what_ran(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    code = (
        "from pathlib import Path; from benchmarks.headline.cells import *; from benchmarks.headline.grid import Grid;"
        "cells = [Cell('web', 'x', {'seed': n, 'web_images': size}) for n, size in ((1, 1), (2, 3000))];"
        f"Grid(CellStore(Path({str(tmp_path)!r}))).run(cells)"
    )
    grid = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    request.addfinalizer(lambda: (grid.kill(), grid.wait()))
    store, first, second = CellStore(tmp_path), web(1, 1), web(2, 3000)
    wait_for(lambda: store.record(first) is not None and store.folder(second).exists())
    children = [int(pid) for pid in Path(f"/proc/{grid.pid}/task/{grid.pid}/children").read_text().split()]

    grid.send_signal(signal.SIGKILL)
    grid.wait()

    assert children
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() and alive(pid) for pid in children))
    assert store.record(first) and store.record(second) is None


def alive(pid: int) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/exe") != ""
    except OSError:
        return False


def wait_for(happened) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + 180
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)
