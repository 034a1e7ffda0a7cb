"""The benchmarks of phrases print every row beside its baseline, and the docs show what they print."""

from __future__ import annotations

import lzma
import re
from pathlib import Path

import pytest

from benchmarks import phrase_number, phrases, phrases_speed

Printed = pytest.CaptureFixture[str]
TREE = """1\tTwo\ttwo\tNUM\tCD\t_\t2\tnummod\t_\t_
2\tdogs\tdog\tNOUN\tNNS\t_\t3\tnsubj\t_\t_
3\tchase\tchase\tVERB\tVBP\t_\t0\troot\t_\t_
4\ta\ta\tDET\tDT\t_\t5\tdet\t_\t_
5\tcat\tcat\tNOUN\tNN\t_\t3\tobj\t_\t_

"""


def rows_of(printed: str) -> list[list[str]]:
    """Return the cells of a printed table without its head."""
    return [re.split(r" {2,}", line.strip()) for line in printed.splitlines()[2:]]


def read_table(page: Path, heading: str) -> list[list[str]]:
    """Return the cells of the first Markdown table after a heading, without its head."""
    text = page.read_text(encoding="utf-8").split(f"\n{heading}\n", 1)[1]
    lines = re.search(r"(?:^\|.*\n)+", text, re.M)
    assert lines is not None
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[0].splitlines()[2:]]


def test_every_finder_is_measured_beside_the_bare_pipeline(tmp_path: Path, capsys: Printed) -> None:
    (tmp_path / "captions.txt").write_text("a dog on a bench\ntwo old boats\n")
    phrases_speed.main(["--captions", str(tmp_path / "captions.txt"), "--rounds", "1"])

    rows = {row[0]: row[1:] for row in rows_of(capsys.readouterr().out)}
    assert list(rows) == [*phrases_speed.BARE, *phrases_speed.FINDERS]
    assert all(float(rows[name][1]) > 0 for name in phrases_speed.BESIDE)


@pytest.mark.parametrize(
    ("main", "option", "expected"),
    [
        (
            phrases_speed.main,
            "--captions",
            "give a UTF-8 file, one caption a line (make bench-phrases CAPTIONS=FILE)",
        ),
        (phrases.main, "--gold", "give bracketed captions, one a line"),
        (phrase_number.main, "--treebanks", "give a folder with ewt_dev.conllu.xz"),
    ],
)
def test_a_missing_input_is_told_with_what_to_give(main, option: str, expected: str, capsys: Printed) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SystemExit) as ended:
        main([option, "nowhere/at_all"])

    assert ended.value.code == 2
    assert (
        f"argument {option}: nowhere/at_all is not a" in (told := capsys.readouterr().err)
        and expected in told
    )


def test_the_rule_of_number_is_scored_beside_a_final_s(tmp_path: Path, capsys: Printed) -> None:
    for name in phrase_number.SETS.values():
        (tmp_path / f"{name}.conllu.xz").write_bytes(lzma.compress(TREE.encode()))
    phrase_number.main(["--treebanks", str(tmp_path)])

    rows = rows_of(capsys.readouterr().out)
    assert [row[:2] for row in rows] == [
        [name, rule] for name in phrase_number.SETS for rule in ("ours", "final s")
    ]
    assert all(row[2:4] == ["2", "1"] and row[4].startswith("100.0 ") for row in rows)


def test_the_page_on_phrases_shows_the_scores_of_today(
    shared_data: Path, project_root: Path, capsys: Printed
) -> None:
    phrases.main(["--gold", str(shared_data / "treebanks/gold_cc.txt")])

    assert rows_of(capsys.readouterr().out) == read_table(project_root / "docs/phrases.md", "## How good")


@pytest.mark.slow
def test_the_page_on_policies_shows_how_often_the_number_is_right(
    shared_data: Path, project_root: Path, capsys: Printed
) -> None:
    phrase_number.main(["--treebanks", str(shared_data / "treebanks")])

    rows = rows_of(capsys.readouterr().out)
    shown = [
        [name, count, plural, f"{right} %", f"{other[4]} %", f"{precision} / {recall}"]
        for (name, _, count, plural, right, precision, recall), other in zip(
            rows[::2], rows[1::2], strict=True
        )
    ]
    assert shown == read_table(project_root / "docs/policy.md", "## One thing, several, or a stuff")
