"""COCO: what is written is read by the COCO API, and what is lost is counted."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from engine.views import open_view, write_view
from pipelines.exchange.export_labels import ExportReport, export_labels, make_report
from pipelines.exchange.exporter import EncodedFile, ExportedRows
from pipelines.exchange.exporters import EXPORTERS
from pipelines.exchange.exporters.coco import make_coco
from pipelines.exchange.image_names import shortest_suffixes
from tests.exchange.rows import make_region, make_row


def _write(tmp_path: Path, rows: list[dict]) -> str:
    write_view(str(tmp_path / "view"), rows, kind="view", provenance={"score_kind": "test"})
    return str(tmp_path / "view")


def _export(rows: list[dict], rejected: int = 0) -> tuple[dict, ExportReport]:
    """Return the COCO file of rows, and the report of what it cannot represent."""
    exporter = EXPORTERS.load("coco")
    exported = ExportedRows(rows, exporter.represents, rejected)
    coco = make_coco(exported)
    return coco, make_report(exporter, exported, EncodedFile(b"", len(coco["categories"])))


def _opened(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def test_an_export_is_opened_by_the_coco_api_and_its_boxes_score_full_marks(tmp_path: Path) -> None:
    view = _write(
        tmp_path,
        [make_row(0, [make_region(), make_region(1, x0=31.0, x1=60.5)]), make_row(1, [make_region(1)])],
    )

    export_labels(view, "coco", tmp_path / "labels.json")
    coco = _opened(tmp_path / "labels.json")
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco, coco.loadRes(list(coco.anns.values())), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()

    assert len(coco.imgs) == 2 and len(coco.anns) == 3
    assert sorted(category["name"] for category in coco.cats.values()) == ["Hund", "café"]
    assert evaluation.stats[0] == pytest.approx(1.0)


def test_an_annotation_carries_score_phrase_and_the_span_in_its_caption(tmp_path: Path) -> None:
    export_labels(_write(tmp_path, [make_row(0, [make_region(1, 0.7)])]), "coco", tmp_path / "labels.json")

    written = json.loads((tmp_path / "labels.json").read_text())
    [image], [annotation] = written["images"], written["annotations"]
    [[begin, end]] = annotation["tokens_positive"]

    assert image["file_name"] == "00000.tar/000000000" and (image["width"], image["height"]) == (64, 48)
    assert image["caption"][begin:end] == annotation["phrase"] == "a café"
    assert annotation["score"] == 0.7 and annotation["bbox"][:2] == [1.1, 2.0]
    assert annotation["bbox"][2:] == pytest.approx([29.2, 38.0], abs=1e-5)
    assert written["info"]["digest"] == open_view(str(tmp_path / "view")).manifest.digest


def test_images_without_a_region_are_in_the_file() -> None:
    coco, report = _export([make_row(0, []), make_row(1, [make_region()])])

    assert [image["id"] for image in coco["images"]] == [1, 2]
    assert (report.images, report.images_without_region, report.annotations) == (2, 1, 1)


def test_what_coco_cannot_hold_is_counted() -> None:
    odd = [
        make_region(2),
        make_region(1, fate="class_only"),
        make_region(weight=0.5, p_correct=0.9, quality=0.4),
    ]

    coco, report = _export([make_row(0, odd), make_row(1, [])], rejected=4)

    assert len(coco["annotations"]) == 1
    assert report.cannot_hold == {
        "beliefs": 1,
        "class_only_regions": 1,
        "decoy_regions": 1,
        "dropped_phrases": 2,
        "parts_of_score": 1,
        "phrases_without_region": 3,
        "rejected_samples": 4,
        "weights": 1,
    }
    assert "4  samples without labels" in report.text()


def test_one_category_for_all_is_the_grounding_form(tmp_path: Path) -> None:
    report = export_labels(
        _write(tmp_path, [make_row(0, [make_region(0), make_region(1)])]), "mdetr", tmp_path / "labels.json"
    )
    coco = json.loads((tmp_path / "labels.json").read_text())

    assert report.categories == 1
    assert coco["categories"] == [{"id": 1, "name": "object"}]
    assert {annotation["category_id"] for annotation in coco["annotations"]} == {1}


def test_an_ignored_region_is_a_crowd() -> None:
    coco, _ = _export([make_row(0, [make_region(0), make_region(1, fate="ignore")])])

    assert [annotation["iscrowd"] for annotation in coco["annotations"]] == [0, 1]


def test_a_region_to_ignore_is_counted_apart_and_makes_neither_a_label_nor_a_found_phrase() -> None:
    unsure = make_region(1, fate="ignore", weight=0.0)
    coco, report = _export([make_row(0, [make_region(0), unsure]), make_row(1, [unsure])])

    assert (report.annotations, report.ignore, report.images_without_region) == (3, 2, 1)
    assert report.cannot_hold == {"dropped_phrases": 2, "phrases_without_region": 5}
    assert sum(not annotation["iscrowd"] for annotation in coco["annotations"]) == 1
    assert "of these to ignore (iscrowd)       2" in report.text()


@settings(max_examples=60, deadline=None)
@given(
    st.sets(st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join), min_size=1, max_size=6)
)
def test_shard_names_are_unique_suffixes_and_no_longer_than_needed(urls: set[str]) -> None:
    names = shortest_suffixes(urls)

    assert len(set(names.values())) == len(urls)
    for url, name in names.items():
        assert f"/{url}".endswith(f"/{name}")
        shorter = name.partition("/")[2]
        assert not shorter or sum(f"/{other}".endswith(f"/{shorter}") for other in urls) > 1
