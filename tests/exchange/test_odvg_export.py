"""ODVG lines: what is written is read again as the same labels, minus what was counted as lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.views import open_view, write_view
from pipelines.exchange.export_labels import ExportReport, export_labels
from pipelines.exchange.gold.options import ImportOptions
from pipelines.exchange.import_gold import import_gold
from tests.exchange.rows import CAPTION, make_region, make_row

DIALECTS = {"odvg_mmdet": "mmdet", "odvg_open_gd": "open_gd", "odvg_tao": "tao"}


def export(folder: Path, rows: list[dict], format: str) -> tuple[list[dict[str, Any]], ExportReport]:
    write_view(str(folder / "view"), rows, kind="view", provenance={"score_kind": "test"})
    report = export_labels(str(folder / "view"), format, folder / "lines.jsonl")
    return [json.loads(line) for line in (folder / "lines.jsonl").read_text().splitlines()], report


def read_again(folder: Path, format: str) -> list[dict[str, Any]]:
    options = ImportOptions(dialect=DIALECTS[format], origin="teacher" if format == "odvg_tao" else "human")
    import_gold("odvg", folder / "lines.jsonl", str(folder / "again"), options)
    return list(open_view(str(folder / "again")).rows())


def boxes_by_phrase(row: dict[str, Any]) -> list[tuple[int, int, tuple[float, ...]]]:
    """Return each label with the place of its phrase and its box."""
    return sorted(
        (phrase["begin"], phrase["end"], tuple(region[side] for side in ("x0", "y0", "x1", "y1")))
        for region in row["regions"]
        if region["fate"] != "ignore" and (phrase := row["phrases"][region["phrase"]])["begin"] is not None
    )


@pytest.mark.parametrize("format", DIALECTS)
def test_a_line_is_of_the_dialect(tmp_path: Path, format: str) -> None:
    [line], _ = export(tmp_path, [make_row(0, [make_region(1, 0.7)])], format)

    name = {"odvg_tao": {"file_name": "000000000"}}.get(format, {"filename": "00000.tar/000000000"})
    [region] = line["grounding"]["regions"]
    own = {
        "odvg_mmdet": {"phrase": "a café", "tokens_positive": [[15, 21]]},
        "odvg_open_gd": {"phrase": "a café"},
        "odvg_tao": {"phrase": "a café (0.70)"},
    }
    assert {key: line[key] for key in line if key != "grounding"} == {**name, "height": 48, "width": 64}
    assert line["grounding"]["caption"] == CAPTION
    assert region == {"bbox": [1.1, 2.0, 30.3, 40.0], **own[format]}


@pytest.mark.parametrize(
    ("format", "lost"),
    [
        ("odvg_mmdet", {"scores": 2}),
        ("odvg_open_gd", {"scores": 2, "places": 2, "images_without_region": 1}),
        ("odvg_tao", {"scores": 2, "places": 2, "images_without_region": 1}),
    ],
)
def test_what_a_dialect_cannot_hold_is_counted(tmp_path: Path, format: str, lost: dict[str, int]) -> None:
    rows = [
        make_row(0, [make_region(0), make_region(1), make_region(1, fate="ignore"), make_region(2)]),
        make_row(1, [], "s3://a/web/00001.tar"),
    ]

    lines, report = export(tmp_path, rows, format)

    assert len(lines) == (2 if format == "odvg_mmdet" else 1) == report.images
    always = {"regions_to_ignore": 1, "decoy_regions": 1}
    told = {name: n for name, n in report.cannot_hold.items() if name in {*lost, *always}}
    assert told == {**always, **lost}
    assert report.annotations == 2


@pytest.mark.parametrize("format", DIALECTS)
@settings(max_examples=15)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.floats(0, 40, width=32), st.floats(0, 1), st.booleans()),
        min_size=1,
        max_size=6,
    )
)
def test_a_round_trip_gives_the_same_labels(
    tmp_path_factory: pytest.TempPathFactory, format: str, drawn: list[tuple[int, float, float, bool]]
) -> None:
    folder = tmp_path_factory.mktemp("odvg")
    regions = [
        make_region(phrase, score, x0=x0, y0=x0 / 2, x1=x0 + 20, fate="ignore" if ignored else "positive")
        for phrase, x0, score, ignored in drawn
    ]
    row = make_row(0, regions)
    lines, _ = export(folder, [row], format)
    [stored] = open_view(str(folder / "view")).rows()

    if not lines:
        assert format != "odvg_mmdet" and not boxes_by_phrase(stored)
        return
    [again] = read_again(folder, format)
    assert boxes_by_phrase(again) == boxes_by_phrase(stored)
    assert again["caption"] == CAPTION and (again["width"], again["height"]) == (64, 48)
    if format == "odvg_tao":
        kept = sorted(round(r["score"], 2) for r in stored["regions"] if r["fate"] != "ignore")
        assert sorted(round(region["score"], 2) for region in again["regions"]) == pytest.approx(
            kept, abs=0.011
        )
