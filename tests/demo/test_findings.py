"""The demo's report: the numbers of its steps, a loss reported as a loss, commands that can be pasted."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from PIL import Image

from pipelines.demo.findings import (
    format_summary,
    list_next_commands,
    list_policy_steps,
    make_model_row,
    pick_examples,
    read_gains,
)
from pipelines.demo.layout import DemoLayout
from pipelines.demo.oracle import compute_precision_lines, load_web_truth, read_truth_rows
from pipelines.demo.world.build import build_world
from pipelines.demo.world.settings import WorldSettings
from pipelines.reporting.examples import draw_example
from schemas.digests import sha256_hex

NAMES = ("AP", "AP50")


def evaluation(tail: float) -> dict:
    numbers = {**dict.fromkeys(NAMES, 0.5), "ci": {name: [0.4, 0.6] for name in NAMES}}
    groups = {
        "head": numbers,
        "tail": {**dict.fromkeys(NAMES, tail), "ci": dict.fromkeys(NAMES, [0.0, 1.0])},
    }
    return {**numbers, "groups": groups}


def results(gain: float) -> dict:
    difference = {"value": gain, "low": gain - 0.02, "high": gain + 0.02}
    return {
        "evaluate": {
            "models": {"control": evaluation(0.3), "student": evaluation(0.3 + gain)},
            "gains": {"": {"AP": difference}, "tail": {"AP": difference}, "head": {}},
        },
        "audit": {"precision": {"value": 0.8, "low": 0.7, "high": 0.9}, "population": 50, "reviewed": 20},
    }


@pytest.mark.parametrize(
    ("gain", "words"), [(0.2, "a gain"), (-0.2, "a loss"), (0.01, "not distinguishable from zero")]
)
def test_the_summary_names_the_better_model(tmp_path: Path, gain: float, words: str) -> None:
    text = format_summary(DemoLayout(tmp_path), results(gain))

    assert [words in line for line in text.splitlines() if line.startswith("student minus control")] == [True]
    assert f"{100 * (0.3 + gain):.1f}" in text and "80.0 [70.0, 90.0]" in text


def test_a_number_that_does_not_exist_is_no_number_and_no_gain() -> None:
    row = make_model_row("student", evaluation(-1))

    assert row.metrics["tail"].value is None and row.metrics["head"].value == 0.5
    assert set(read_gains(results(0.1)["evaluate"])) == {"AP", "tail"}
    assert read_gains({"gains": {"": {}}}) == {}


def test_the_policys_steps_end_at_what_it_kept() -> None:
    dropped = {"below_score": 30, "overlap": 10, "lost_assignment": 5}
    steps = list_policy_steps({"regions": {"regions_in": 50, "kept": 5, "dropped": dropped}})

    assert [step.regions_after for step in steps] == [40, 35, 5]


def test_the_policys_steps_end_at_what_it_kept_where_regions_are_to_be_ignored() -> None:
    dropped, ignored = {"below_score": 10, "decoy": 4}, {"below_score": 20, "overlap": 6}
    regions = {"regions_in": 50, "kept": 10, "dropped": dropped, "ignored": ignored}

    steps = list_policy_steps({"regions": regions})

    assert [step.regions_after for step in steps] == [46, 40, 10]
    assert ["to ignore" in step.setting for step in steps] == [False, True, True]


def test_commands_can_be_pasted_whatever_the_folder_is_called() -> None:
    for item in list_next_commands(DemoLayout(Path("my demo"))):
        assert any(word.startswith("my demo/") for word in shlex.split(item.command))


def region(phrase: int, box: tuple[float, float, float, float], score: float) -> dict:
    x0, y0, x1, y1 = box
    return {"phrase": phrase, "x0": x0, "y0": y0, "x1": x1, "y1": y1, "score": score, "pass_index": 0}


def test_an_example_shows_the_views_box_and_everything_it_dropped(tmp_path: Path) -> None:
    Image.new("RGB", (96, 96)).save(tmp_path / "a.jpg")
    row = {
        "unit": "u",
        "index": 0,
        "key": "a",
        "pixels": {"url": str(tmp_path / "a.jpg")},
        "image_sha256": sha256_hex((tmp_path / "a.jpg").read_bytes()),
        "width": 96,
        "height": 96,
        "caption": "a ring and a star",
        "phrases": [{"text": "a ring"}, {"text": "a star"}],
    }
    near = [region(0, (1, 1, 9, 9), 0.6), region(1, (1, 1, 10, 9), 0.5), region(1, (40, 40, 60, 60), 0.1)]
    merged = [near[0], {**near[1], "x1": 9}]
    evidence, view = {**row, "regions": near}, {**row, "regions": merged}

    (example,) = pick_examples([view], [evidence, {**evidence, "index": 1}], seed=0)

    assert [(box.text, box.box[2], box.kept) for box in example.boxes] == [
        ("a ring", 9, True),
        ("a star", 9, True),
        ("a star", 60, False),
    ]


def test_an_example_does_not_show_a_region_to_ignore_as_a_kept_one(tmp_path: Path) -> None:
    Image.new("RGB", (96, 96)).save(tmp_path / "a.jpg")
    row = {
        "unit": "u",
        "index": 0,
        "key": "a",
        "pixels": {"url": str(tmp_path / "a.jpg")},
        "image_sha256": sha256_hex((tmp_path / "a.jpg").read_bytes()),
        "width": 96,
        "height": 96,
        "caption": "a ring",
        "phrases": [{"text": "a ring"}],
    }
    found = [region(0, (1, 1, 9, 9), 0.6), region(0, (20, 1, 29, 9), 0.5), region(0, (40, 1, 49, 9), 0.1)]
    view = {**row, "regions": [{**found[0], "fate": "positive"}, {**found[1], "fate": "ignore"}]}
    nothing = {**view, "index": 1, "regions": view["regions"][1:]}
    evidence = [{**row, "regions": found}, {**row, "index": 1, "regions": found}]

    (example,) = pick_examples([view, nothing], evidence, seed=0)
    text = str(draw_example(example))

    assert [box.kept for box in example.boxes] == [True, False, False]
    assert [text.count(f"<title>{word}: a ring") for word in ("kept", "to ignore", "dropped")] == [1, 1, 1]
    assert "1 kept, 1 to ignore, 1 dropped" in text


def test_precision_is_that_of_the_truth_at_every_threshold(tmp_path: Path) -> None:
    settings = WorldSettings(gold_images=1, test_images=1, web_images=12, caption_absent=0.5)
    world, _ = build_world(tmp_path, settings)
    evidence = []
    for row in read_truth_rows(world.web_truth):
        found = {}
        for box in row["regions"]:
            found.setdefault(box["phrase"], {**box, "score": 0.6})
        right = list(found.values())
        wrong = [region(number, (0, 0, 1, 1), 0.3) for number in range(len(row["phrases"]))]
        phrases = [{**phrase, "root": phrase["noun"]} for phrase in row["phrases"]]
        evidence.append({**row, "shard": f"/a/{row['shard']}", "phrases": phrases, "regions": right + wrong})

    for line in compute_precision_lines(evidence, world.web_truth):
        at = {point.threshold: point for point in line.points}
        assert at[0.5].precision.value == 1 and at[0.2].kept > at[0.5].kept
        assert at[0.2].precision.value == pytest.approx(at[0.5].kept / at[0.2].kept)
        assert 0.65 not in at


def test_the_truth_of_a_phrase_is_every_thing_its_words_fit(tmp_path: Path) -> None:
    settings = WorldSettings(gold_images=1, test_images=1, web_images=30, caption_colour=0.0)
    world, _ = build_world(tmp_path, settings)
    most = 0
    truth = load_web_truth(world.web_truth)
    for row in read_truth_rows(world.web_truth):
        for number, phrase in enumerate(row["phrases"]):
            asked = Asked(row["shard"], row["key"], phrase["begin"], phrase["end"])
            own = [box for box in row["regions"] if box["phrase"] == number]
            assert len(truth(asked)) == len(own)
            most = max(most, len(own))

    assert most >= 2


class Asked:
    """What a truth reads of a sampled region."""

    def __init__(self, shard: str, key: str, begin: int, end: int) -> None:
        self.shard, self.key, self.begin, self.end = f"/elsewhere/{shard}", key, begin, end
