"""Large views: read block by block in an order that content alone decides, with the counts of a whole reading."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine.views
from engine.views import open_view, write_view
from pipelines.demo.world.build import World
from student.data import content_blocks, view_index
from student.data.content_blocks import block_keys, content_key
from student.data.example_source import BlockSource
from student.data.order import WindowOrder
from student.data.streams import Stream, load_stream
from student.settings.streams import PromptMix, StreamSettings

MIX = PromptMix(detection=1, phrase_list=0, caption=0)


def rows_of(world: World, units: list[tuple[str, int]]) -> list[dict[str, Any]]:
    """Gold's rows as a view of several units; each has an image of its own, every third nothing but ignored boxes."""
    gold = list(open_view(world.gold_view).rows())
    rows, number = [], 0
    for unit, count in units:
        for index in range(count):
            row = dict(gold[number % len(gold)])
            row |= {"unit": unit, "index": index, "key": f"k{number:04d}", "image_sha256": f"{number:064d}"}
            if number % 3 == 2:
                row["regions"] = [{**region, "fate": "ignore"} for region in row["regions"][: number % 2]]
                row["phrases"] = [{**phrase, "fate": "unresolved"} for phrase in row["phrases"]]
            rows.append(row)
            number += 1
    return sorted(rows, key=lambda row: (row["unit"], row["index"]))


def written(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> StreamSettings:
    write_view(str(folder), rows, kind="view", provenance={})
    return StreamSettings(url=str(folder), share=1, prompts=MIX, **settings)


def order_of(stream: Stream, places: range = range(200)) -> list[str]:
    """Which images come, by content."""
    return [stream.examples[stream.order.row(place, "0", 7)].image_sha256 for place in places]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts and blocks of a few rows, so that sixty rows are a large view."""
    monkeypatch.setattr(engine.views, "ROWS_PER_PART", 8)
    monkeypatch.setattr(content_blocks, "BLOCK_ROWS", 5)


HERE = [("a", 13), ("b", 20), ("c", 27)]
THERE = [("z", 13), ("m", 20), ("b", 27)]  # the same shards under other paths: other names, another order


@pytest.mark.parametrize("window", [16, 1000])
def test_the_same_data_in_another_folder_comes_in_the_same_order(
    tiny_world: World, tmp_path: Path, window: int
) -> None:
    here = load_stream(written(tmp_path / "a", rows_of(tiny_world, HERE), shuffle_window=window), tmp_path)
    there = load_stream(written(tmp_path / "b", rows_of(tiny_world, THERE), shuffle_window=window), tmp_path)

    assert here.digest == there.digest and here.view_digest != there.view_digest
    assert order_of(here) == order_of(there)
    assert len(set(order_of(here))) == here.images == 40


def test_blocks_hold_a_units_rows_and_do_not_know_where_parts_are_cut(
    tiny_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of(tiny_world, HERE)
    written(tmp_path / "eight", rows)
    monkeypatch.setattr(engine.views, "ROWS_PER_PART", 11)
    written(tmp_path / "eleven", rows)

    eight, eleven = (list(block_keys(open_view(str(tmp_path / n)).tables())) for n in ("eight", "eleven"))

    assert eight == eleven
    assert [count for _, count in eight] == [5, 5, 3, 5, 5, 5, 5, 5, 5, 5, 5, 5, 2]


@pytest.mark.parametrize("change", ["caption", "box", "fate"])
def test_a_blocks_key_changes_with_anything_that_is_learned(
    tiny_world: World, tmp_path: Path, change: str
) -> None:
    rows = rows_of(tiny_world, [("a", 4)])
    written(tmp_path / "was", rows)
    if change == "caption":
        rows[0]["caption"] += "!"
    elif change == "box":
        rows[0]["regions"] = [{**region, "x0": region["x0"] / 2} for region in rows[0]["regions"]]
    else:
        rows[2]["phrases"] = [{**phrase, "groundable": False} for phrase in rows[2]["phrases"]]
    written(tmp_path / "is", rows)

    was, now = (next(open_view(str(tmp_path / name)).tables()) for name in ("was", "is"))
    assert content_key(was) != content_key(now)


def test_a_large_view_counts_what_a_small_one_counts(tiny_world: World, tmp_path: Path) -> None:
    settings = written(tmp_path / "view", rows_of(tiny_world, HERE), repeat_threshold=0.5)
    small = load_stream(settings)
    large = load_stream(settings.model_copy(update={"shuffle_window": 16}), tmp_path)

    assert isinstance(large.order, WindowOrder) and not isinstance(small.order, WindowOrder)
    for name in (
        "root_counts",
        "licenses",
        "images",
        "boxes",
        "ignored_boxes",
        "has_decoys",
        "view_digest",
        "kind",
    ):
        assert getattr(small, name) == getattr(large, name)
    assert small.boxes == sum(len(small.examples[row].boxes_xyxy_px_G4) for row in range(60))
    ignored = [
        small.examples[row] for row in range(60) if not any(p.boxes for p in small.examples[row].phrases)
    ]
    assert small.ignored_boxes == sum(len(example.boxes_xyxy_px_G4) for example in ignored) > 0


def test_the_pass_over_a_large_view_is_kept_and_made_once(
    tiny_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = written(tmp_path / "view", rows_of(tiny_world, HERE), shuffle_window=16)
    first = load_stream(settings, tmp_path / "cache")
    monkeypatch.setattr(view_index, "build_index", None)
    again = load_stream(settings, tmp_path / "cache")

    assert order_of(first) == order_of(again) and first.root_counts == again.root_counts
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert sorted(path.name for path in (tmp_path / "view").iterdir()) == ["data", "view.json"]


@pytest.mark.parametrize("window", [1, 2, 5, 40])
@pytest.mark.parametrize("sizes", [[1], [3, 1, 4], [7] * 9, [0, 5, 0, 2]])
def test_a_window_order_hands_out_each_entry_once_an_epoch(sizes: list[int], window: int) -> None:
    first_row = np.concatenate([[0], np.cumsum([max(size, 2) for size in sizes])])
    repeats = np.concatenate([np.arange(max(size, 2)) < size for size in sizes]).astype(np.uint8)
    repeats[repeats.argmax()] = 3
    order = WindowOrder(first_row, repeats, window, "d")
    wanted = Counter(np.repeat(np.arange(len(repeats)), repeats).tolist())

    for epoch in range(3):
        places = range(epoch * len(order), (epoch + 1) * len(order))
        assert Counter(order.row(place, "0", 1) for place in places) == wanted


def test_a_short_stretch_of_the_order_needs_no_more_blocks_than_the_window() -> None:
    order = WindowOrder(np.arange(0, 5001, 50), np.ones(5000, np.uint8), 10, "d")
    blocks = [order.row(place, "0", 1) // 50 for place in range(5000)]

    for place in range(0, 5000, 50):
        assert len(set(blocks[place : place + 50])) <= 11
    assert np.mean([len(set(blocks[place : place + 32])) for place in range(0, 4968, 8)]) > 8.5


def test_a_window_mixes_neighbours_nearly_as_well_as_a_whole_shuffle() -> None:
    """Rows that lie together in the file: how often two of them share a batch of 32, beside a whole shuffle."""
    rows, batch = 8000, 32
    windowed = WindowOrder(np.arange(0, rows + 1, 100), np.ones(rows, np.uint8), 20, "d")

    def together(order: np.ndarray) -> float:
        batches = (order // 100).reshape(-1, batch)
        pairs = batch * (batch - 1) / 2
        return float(
            np.mean([(np.bincount(one) * (np.bincount(one) - 1) / 2).sum() / pairs for one in batches])
        )

    mixed = together(np.array([windowed.row(place, "0", 1) for place in range(rows)]))
    whole = together(np.random.default_rng(0).permutation(rows))
    unmixed = together(np.arange(rows))
    assert whole < 0.02 and mixed < 0.06 < 0.8 < unmixed


def test_no_more_blocks_are_held_than_were_asked_for_and_none_is_read_twice_in_a_row(
    tiny_world: World, tmp_path: Path
) -> None:
    stream = load_stream(written(tmp_path / "view", rows_of(tiny_world, HERE), shuffle_window=16), tmp_path)
    source = stream.examples
    assert isinstance(source, BlockSource)
    read: list[int] = []
    inner = source._read
    source._read = lambda block: read.append(block) or inner(block)  # type: ignore[method-assign, func-returns-value]

    order_of(stream, range(40))

    assert len(source._cache) <= source._keep
    assert len(read) <= 13 + 3, "a ring: the window's first blocks come again at the epoch's end"


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows_beyond_some_bytes_each(
    project_root: Path, tmp_path: Path
) -> None:
    """Each size in a process of its own, since a process's peak never falls. One byte a row is the index."""
    peaks = {}
    for rows in (100_000, 1_000_000):
        command = [sys.executable, "-m", "benchmarks.loader_scale", f"--rows={rows}", "--window=8192"]
        answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=project_root)
        figures = json.loads(answer.stdout)
        peaks[rows] = figures["peak_mb_reading"]
        assert figures["rows"] >= rows

    assert peaks[1_000_000] - peaks[100_000] < 40
