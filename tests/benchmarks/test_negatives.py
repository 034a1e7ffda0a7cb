"""Negatives are measured by both rules: on a view of a few captions, on real photographs, and on the page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import negatives
from engine.views import write_view

Printed = pytest.CaptureFixture[str]
CAPTIONS = ("a boy and a dog", "a child on a bike", "people near a table", "a puppy and a desk", "a person")


def write_small_view(folder: Path) -> str:
    """Write a view of five captions. All their nouns have a box."""
    rows = []
    for number, caption in enumerate(CAPTIONS):
        nouns = [word for word in caption.split() if word not in ("a", "and", "on", "near")]
        phrases = [
            {
                **{"begin": caption.index(noun), "end": caption.index(noun) + len(noun)},
                **{"text": noun, "root": noun, "kind": "chunk"},
                **{"groundable": True, "truncated": False, "fate": "positive"},
            }
            for noun in nouns
        ]
        regions = [
            {
                **{"phrase": place, "x0": 9.0 * place, "y0": 0.0, "x1": 9.0 * place + 8, "y1": 9.0},
                **{"score": 0.9, "pass_index": 0, "weight": 1.0, "fate": "positive", "origin": "teacher"},
            }
            for place in range(len(nouns))
        ]
        pixels = {"url": "images.tar", "offset": 0, "length": 1}
        rows.append(
            {
                **{"unit": "u", "shard": "s", "index": number, "key": str(number), "pixels": pixels},
                **{"image_sha256": f"{number:064x}", "width": 64, "height": 48, "exif_orientation": 1},
                **{"caption": caption, "phrases": phrases, "dropped_phrases": [], "regions": regions},
            }
        )
    write_view(str(folder), iter(rows), kind="view", provenance={})
    return str(folder)


def rows_of(printed: str) -> dict[str, list[str]]:
    """Return the cells of each rule and number of negatives, by their names."""
    rows = [[cell for cell in line.split("  ") if cell] for line in printed.splitlines()]
    return {row[0]: [cell.strip() for cell in row[1:]] for row in rows if ", at most " in row[0]}


def test_both_rules_are_measured_on_a_view(tmp_path: Path, capsys: Printed) -> None:
    view = write_small_view(tmp_path)
    some = ["--view", view, "--epochs", "30", "--negatives-max", "15"]
    negatives.main([*some, "--json"])
    found = json.loads(capsys.readouterr().out)
    negatives.main(some)
    first, *_, pairs, none = capsys.readouterr().out.splitlines()

    rules = {rule: found["rules"][f"{rule}, at most 15"] for rule in negatives.RULES}
    assert (found["images"], found["nouns"]) == (5, 9) and first == "5 images, 9 nouns, 30 epochs"
    assert rules["words"]["prompts"] == rules["concepts"]["prompts"] == "150"
    assert float(rules["words"]["contradicting by hand"].rstrip("%")) > 50
    assert rules["concepts"]["contradicting by hand"] == "0.00%"
    assert rules["concepts"]["people beside people"] == "0.0%"
    assert pairs.startswith("words: ") and "person+ child-" in pairs
    assert none == "concepts: no pair that contradicts itself by hand"


@pytest.mark.parametrize(
    ("line", "pairs"),
    [
        ("= a b", {("a", "b"), ("b", "a")}),
        ("a > b c", {("a", "b"), ("b", "a"), ("a", "c"), ("c", "a")}),
        ("* c", {("a", "c"), ("b", "c")}),
        ("# = a b", set()),
    ],
)
def test_judged_pairs_are_read(tmp_path: Path, line: str, pairs: set[tuple[str, str]]) -> None:
    file = tmp_path / "judged.txt"
    file.write_text(f"{line}\n\n")
    judge = negatives.judge_by_hand(file)

    assert {(one, other) for one in "abc" for other in "abc" if one != other and judge(one, other)} == pairs


def test_a_line_of_another_form_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "judged.txt"
    file.write_text("a b c\n")

    with pytest.raises(ValueError, match="expected '= WORDS'"):
        negatives.judge_by_hand(file)


def measure_photographs(web: Path, shared_data: Path, capsys: Printed, *more: str) -> dict[str, list[str]]:
    detector = str(shared_data / "real_teacher" / "yolox_nano.onnx")
    negatives.main(["--web", str(web), "--detector", detector, *more])
    return rows_of(capsys.readouterr().out)


def percent(cell: str) -> float:
    return float(cell.rstrip(" %"))


def check_limits(words: Sequence[str], concepts: Sequence[str]) -> None:
    """Compare with the limits of the requirement: below 0.5 % contradict, with at least 90 % of the negatives."""
    (*_, before, _, people_before), (_, _, share, by_hand, _, people) = words, concepts
    assert percent(before) > 10 and percent(people_before) > 10
    assert percent(by_hand) < 0.5 and percent(people) == 0 and percent(share) >= 90


def test_prompts_of_real_photographs_do_not_contradict_themselves(
    tmp_path: Path, shared_data: Path, capsys: Printed
) -> None:
    (tmp_path / "00000.tar").symlink_to(shared_data / "real_web" / "00000.tar")

    rows = measure_photographs(tmp_path, shared_data, capsys, "--epochs", "10", "--negatives-max", "15")

    check_limits(*rows.values())


@pytest.mark.slow
def test_the_page_on_mixtures_shows_the_shares_of_today(
    shared_data: Path, project_root: Path, capsys: Printed
) -> None:
    rows = measure_photographs(shared_data / "real_web", shared_data, capsys)

    check_limits(rows["words, at most 15"], rows["concepts, at most 15"])
    page = (project_root / "docs/mixture.md").read_text(encoding="utf-8")
    assert {name: read_row(page, name) for name in rows} == rows


def read_row(page: str, name: str) -> list[str]:
    line = next(line for line in page.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.strip("|").split("|")[1:]]
