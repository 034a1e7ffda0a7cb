"""The benchmarks that need a trained teacher run, one after the other, on one world of seconds."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks import decoys, jpeg_decoders, one_number, perceptual_hash, prompt_split
from pipelines.demo.layout import DemoLayout

WORLD = {"gold_images": 12, "web_images": 12, "web_shard_images": 12, "test_images": 3}
LOW = {"min_score": 0.05, "one_to_one": True}  # a teacher of so few steps is sure of nothing
Printed = pytest.CaptureFixture[str]


class Run(NamedTuple):
    """What a benchmark printed, and the folder that it made."""

    lines: list[str]
    places: DemoLayout


def cells(line: str) -> list[str]:
    """Return the cells of a Markdown row, or of one whose columns are separated by two spaces or more."""
    return [
        cell.strip() for cell in (line.strip("| ").split("|") if "|" in line else line.split("  ")) if cell
    ]


def percentages(texts: Sequence[str]) -> bool:
    return all(0 <= float(text.rstrip("%")) <= 100 for text in texts)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder, printed = tmp_path_factory.mktemp("one"), io.StringIO()
    training = {"teacher_steps": 12, "finish_steps": 2, "student_steps": 2, "batch_size": 2}
    training |= {"teacher_learning_rate": 0.005}
    changes = {**training, "world_size": WORLD, "policy": LOW}
    changed = [part for name, value in changes.items() for part in ("--set", f"{name}={json.dumps(value)}")]
    with redirect_stdout(printed):
        one_number.main(["--out", str(folder), "--workers", "1", *changed])
    return Run(printed.getvalue().splitlines(), DemoLayout(folder))


def test_the_one_number_stands_beside_teacher_and_control(one: Run) -> None:
    labels, head, _, *rows = one.lines

    assert labels.startswith("labels of seed 0: {") and "precision tail" in labels
    assert cells(head)[:3] == ["model", "AP head", "AP tail"]
    assert [cells(row)[0] for row in rows] == ["teacher", "control", "student"]
    assert all(len(cells(row)) == len(cells(head)) and percentages(cells(row)[1:6]) for row in rows)


def test_decoys_are_told_beside_what_the_scenes_hold(one: Run, tmp_path: Path, capsys: Printed) -> None:
    decoys.main(["--demo", str(one.places.folder), "--out", str(tmp_path), "--images", "4"])

    first, *lines, absent, there = capsys.readouterr().out.splitlines()
    assert first == "4 images; their own phrases and regions are equal with decoys"
    assert any(line.startswith("all | ") for line in lines)
    assert absent.startswith("decoys really absent: ") and there.startswith("decoys there, and not in")


def test_two_ways_of_splitting_are_compared_with_the_whole_prompt(one: Run, capsys: Printed) -> None:
    model = str(one.places.model("teacher"))
    prompt_split.main(["--labels", one.places.evidence, "--model", model, "--n", "2"])

    head, _, *rows = capsys.readouterr().out.splitlines()
    assert head.startswith("2 captions") and head.endswith("changed sides  moved")
    assert [cells(row)[0] for row in rows] == ["cut at phrase borders", "lists of phrases"]
    assert all(int(cells(row)[1]) >= 4 for row in rows)


def test_each_decoder_is_compared_with_ours(one: Run, capsys: Printed) -> None:
    jpeg_decoders.main([str(one.places.world.web_shards[0])])

    ours, other = capsys.readouterr().out.splitlines()
    assert ours.startswith("decode_image: ") and ours.endswith("12 of 12 equal to decode_image")
    assert other.startswith("simplejpeg: ") and " ms an image, " in other


def test_hashes_of_copies_are_told_beside_those_of_other_pictures(one: Run, capsys: Printed) -> None:
    perceptual_hash.main([str(one.places.world.web_shards[0].parent)])

    first, _, _, pairs, *copies = capsys.readouterr().out.splitlines()
    assert first == "12 images, 12 with a hash, 66 pairs"
    assert cells(pairs)[0] == "pairs" and int(cells(pairs)[-1]) <= 66
    assert len(copies) == 3 and all(percentages(cells(copy)[1:]) for copy in copies)
