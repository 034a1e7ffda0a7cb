"""Files that went wrong in the field: each has the outcome that is right, in `gold import` and in `evaluate`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from engine.views import open_view
from pipelines.cli import build_app


@dataclass(frozen=True)
class Outcome:
    """What is right for a file.

    rows, boxes: of the gold; None if nothing is written
    codes:       of repairs and refusals, over all kinds of records
    exit:        of the import
    says:        in the message on stderr
    ap:          of perfect results in the file's own ids, against file and import; None if both refuse the file
    """

    rows: int | None = 4
    boxes: int = 6
    codes: tuple[str, ...] = ()
    exit: int = 0
    says: str = ""
    ap: float | None = 1.0


SOUND = Outcome()
COCO = {
    "absolute_paths": Outcome(codes=("found_by_name",)),
    "accents": SOUND,
    "ann_id_zero": SOUND,
    "ann_image_id_text": Outcome(codes=("number_form",)),
    "annotations_null": Outcome(
        boxes=0, codes=("field_missing",), exit=3, says="no box is left: 1 of 1 annotations", ap=None
    ),
    "area_zero": Outcome(codes=("area_from_box",)),
    "background_class": SOUND,
    "base": SOUND,
    "case_twins": SOUND,
    "cats1203": Outcome(rows=1, boxes=1),
    "cjk": SOUND,
    "coco_with_captions": SOUND,
    "dims_swapped": Outcome(
        None, exit=2, says="all fit if width and height of the images are exchanged", ap=None
    ),
    "dup_ann_ids": Outcome(codes=("id_repeated",)),
    "emoji": SOUND,
    "empty_bbox": Outcome(codes=("box_not_numbers",), exit=3, says="1 of 7 annotations were refused"),
    "float_ids": Outcome(codes=("flag_form", "number_form")),
    "ignore_flag": SOUND,
    "iscrowd_text": Outcome(codes=("flag_form",)),
    "lvis_like": SOUND,
    "missing_image": Outcome(
        rows=3, boxes=4, codes=("image_missing", "image_refused"), exit=3, says="1 of 4 images were refused"
    ),
    "nan_bbox": Outcome(boxes=5, codes=("box_not_numbers",), exit=3, says="1 of 6 annotations were refused"),
    "no_ann_id": SOUND,
    "no_area_no_iscrowd": SOUND,
    "no_extension": Outcome(codes=("found_by_name",)),
    "normalised": Outcome(None, exit=2, says="fractions of the image's sides. Give --unit fraction", ap=None),
    "one_class_object": SOUND,
    "one_file_two_records": Outcome(rows=2, boxes=2),
    "rle_crowd": SOUND,
    "roboflow_root": SOUND,
    "segmentation_only": Outcome(codes=("box_from_polygon",)),
    "special_token": Outcome(None, exit=2, says="category 1, '[SEP]', has [SEP]", ap=None),
    "string_image_ids": SOUND,
    "subfolders": Outcome(rows=2, boxes=4),
    "voc_names": SOUND,
    "windows_paths": Outcome(codes=("found_by_name",)),
    "xyxy_as_xywh": Outcome(None, exit=2, says="the area that their record states as xyxy", ap=None),
    "zero_based_images": Outcome(boxes=7),
    "zero_w_and_outside": Outcome(boxes=5, codes=("box_clipped", "box_empty"), exit=3),
}


@pytest.fixture
def reports(shared_data: Path) -> Path:
    return shared_data / "field_reports" / "gold"


def run(*words: object) -> Any:
    return CliRunner().invoke(build_app(), [str(word) for word in words])


def import_file(format: str, file: Path, to: Path, *options: object) -> Any:
    images = ("--images", file.parent / "img")
    return run("gold", "import", format, file, *images, "--to", to, "--json", *options)


def make_perfect_results(file: Path) -> list[dict[str, Any]]:
    """Return the usable boxes of a file as results in its own ids."""
    annotations = json.loads(file.read_text())["annotations"] or []
    results = []
    for annotation in annotations:
        box = annotation.get("bbox") or box_of_ring(annotation.get("segmentation"))
        if box and all(side == side for side in box) and min(box[2:]) > 0:
            ids = {name: annotation[name] for name in ("image_id", "category_id")}
            results.append({**ids, "bbox": clip(box), "score": 0.9})
    return results


def box_of_ring(segmentation: list[list[float]] | None) -> list[float] | None:
    if not segmentation:
        return None
    [ring] = segmentation
    xs, ys = ring[::2], ring[1::2]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def clip(box: list[float]) -> list[float]:
    """Return a box xywh without the part left of or above the image."""
    x, y, width, height = box
    return [max(x, 0), max(y, 0), width + min(x, 0), height + min(y, 0)]


@pytest.mark.parametrize("name", COCO)
def test_a_coco_file_has_the_outcome_that_is_right(reports: Path, tmp_path: Path, name: str) -> None:
    file, right, gold = reports / f"{name}.json", COCO[name], tmp_path / "gold"

    done = import_file("coco", file, gold)

    assert done.exit_code == right.exit, done.stderr
    assert right.says in done.stderr
    if right.rows is None:
        assert not gold.exists()
        return
    report = json.loads(done.stdout)
    codes = {code for counts in report["records"].values() for code in counts["codes"]}
    assert (report["rows"], report["regions"], codes) == (right.rows, right.boxes, set(right.codes))


@pytest.mark.parametrize("name", COCO)
def test_perfect_results_score_the_same_against_the_file_and_its_import(
    reports: Path, tmp_path: Path, name: str
) -> None:
    file, right, gold = reports / f"{name}.json", COCO[name], tmp_path / "gold"
    (tmp_path / "results.json").write_text(json.dumps(make_perfect_results(file)))
    import_file("coco", file, gold)

    for form in (file, *([gold] if gold.exists() else [])):
        answer = run("evaluate", tmp_path / "results.json", "--gold", form, "--max-refused", 1, "--json")
        if right.ap is None:
            assert answer.exit_code == 2 and answer.stdout == ""
        else:
            assert answer.exit_code == 0, answer.stderr
            assert json.loads(answer.stdout)["AP"] == pytest.approx(right.ap)


@pytest.mark.parametrize(
    ("name", "image", "kept"),
    [("nan_bbox", "1", {"lamp"}), ("empty_bbox", "4", {"lamp"}), ("zero_w_and_outside", "1", {"lamp"})],
)
def test_the_class_of_a_refused_box_is_unresolved_in_its_image_and_not_absent(
    reports: Path, tmp_path: Path, name: str, image: str, kept: set[str]
) -> None:
    import_file("coco", reports / f"{name}.json", tmp_path / "gold")

    fates = read_fates(tmp_path / "gold")[image]
    assert fates["mug"] == "unresolved" and set(fates) - {"mug"} == kept


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("background_class", {"background": "background"}),
        ("roboflow_root", {"warehouse-goods": "root_category"}),
        ("case_twins", {"Mug": "case_twin", "mug": "case_twin"}),
        ("emoji", {"🍵": "no_word", "💡": "no_word"}),
        ("one_class_object", {"object": "catch_all"}),
    ],
)
def test_a_name_that_a_model_reads_otherwise_is_told_and_never_absent(
    reports: Path, tmp_path: Path, name: str, reasons: dict[str, str]
) -> None:
    done = import_file("coco", reports / f"{name}.json", tmp_path / "gold")

    assert json.loads(done.stdout)["questionable_names"] == reasons
    fates = [row for row in read_fates(tmp_path / "gold").values() for row in row.items()]
    assert all(fate != "absent" for word, fate in fates if word in reasons)


def test_captions_of_a_detection_file_are_counted_as_left(reports: Path, tmp_path: Path) -> None:
    done = import_file("coco", reports / "coco_with_captions.json", tmp_path / "gold")

    assert json.loads(done.stdout)["facts"]["captions_left"] == 4


def test_twins_by_case_are_merged_when_asked(reports: Path, tmp_path: Path) -> None:
    done = import_file("coco", reports / "case_twins.json", tmp_path / "gold", "--merge-names")

    assert json.loads(done.stdout)["questionable_names"] == {}
    assert read_fates(tmp_path / "gold")["1"] == {"Mug": "positive"}


def test_a_flag_to_ignore_means_the_same_in_import_file_and_folder(reports: Path, tmp_path: Path) -> None:
    file = reports / "ignore_flag.json"
    ignored = {(a["image_id"], a["category_id"]) for a in read(file)["annotations"] if a.get("ignore")}
    others = [r for r in make_perfect_results(file) if (r["image_id"], r["category_id"]) not in ignored]
    (tmp_path / "results.json").write_text(json.dumps(others))
    import_file("coco", file, tmp_path / "gold")

    regions = [region for row in open_view(str(tmp_path / "gold")).rows() for region in row["regions"]]
    assert ignored and sum(region["fate"] == "ignore" for region in regions) == len(ignored)
    for form in (file, tmp_path / "gold"):
        answer = run("evaluate", tmp_path / "results.json", "--gold", form, "--json")
        assert json.loads(answer.stdout)["AP"] == pytest.approx(1)


def test_two_records_of_one_picture_say_nothing_against_each_other(reports: Path, tmp_path: Path) -> None:
    done = import_file("coco", reports / "one_file_two_records.json", tmp_path / "gold")

    assert json.loads(done.stdout)["facts"]["pictures_in_several_records"] == 1
    assert [set(row.values()) for row in read_fates(tmp_path / "gold").values()] == [
        {"positive", "unresolved"},
        {"positive", "unresolved"},
    ]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("normalised", ("--unit", "fraction")),
        ("xyxy_as_xywh", ("--boxes", "xyxy")),
        ("base", ("--boxes", "xywh")),
    ],
)
def test_a_stated_convention_gives_the_boxes_of_the_plain_file(
    reports: Path, tmp_path: Path, name: str, options: tuple[str, ...]
) -> None:
    file = reports / f"{name}.json"
    (tmp_path / "results.json").write_text(json.dumps(make_perfect_results(reports / "base.json")))

    done = import_file("coco", file, tmp_path / "gold", *options)

    assert done.exit_code == 0 and json.loads(done.stdout)["records"]["annotations"]["repaired"] == 0
    for form, stated in ((file, options), (tmp_path / "gold", ())):
        answer = run("evaluate", tmp_path / "results.json", "--gold", form, *stated, "--json")
        assert json.loads(answer.stdout)["AP"] == pytest.approx(1)


def test_boxes_of_lines_that_are_sides_are_refused_unless_stated(reports: Path, tmp_path: Path) -> None:
    lines, labels = reports / "odvg_xywh.jsonl", ("--label-map", reports / "lm0.json")

    refused = import_file("odvg", lines, tmp_path / "gold", *labels)
    done = import_file("odvg", lines, tmp_path / "gold", *labels, "--boxes", "xywh")

    assert refused.exit_code == 2 and "--boxes xywh" in refused.stderr
    assert json.loads(done.stdout)["records"]["regions"]["kept"] == 1
    [row] = open_view(str(tmp_path / "gold")).rows()
    assert [row["regions"][0][side] for side in ("x0", "y0", "x1", "y1")] == [110, 60, 180, 140]


def test_labels_that_are_off_by_one_are_refused_with_the_evidence(reports: Path, tmp_path: Path) -> None:
    lines = reports / "odvg_det_1based.jsonl"

    wrong = import_file("odvg", lines, tmp_path / "wrong", "--label-map", reports / "lm0.json")
    right = import_file("odvg", lines, tmp_path / "right", "--label-map", reports / "lm1.json")

    assert wrong.exit_code == 3 and "its indices are 0 to 1, the labels of the file 1 to 2" in wrong.stderr
    assert right.exit_code == 0 and json.loads(right.stdout)["regions"] == 4


def test_spans_are_exact_and_byte_offsets_are_refused_as_outside(reports: Path, tmp_path: Path) -> None:
    done = import_file("mdetr", reports / "mdetr.json", tmp_path / "gold")
    bytewise = import_file("mdetr", reports / "mdetr_byte_offsets.json", tmp_path / "bytes")

    [row] = open_view(str(tmp_path / "gold")).rows()
    assert [phrase["text"] for phrase in row["phrases"]] == ["red thing", "café crème"]
    assert done.exit_code == 0
    assert bytewise.exit_code == 3
    assert json.loads(bytewise.stdout)["records"]["annotations"]["codes"] == {"span_outside": 1}


@pytest.mark.parametrize(
    ("results", "exit", "says"),
    [
        ("perfect_results", 0, ""),
        ("results_noscore", 2, "detection 0 has no score"),
        ("results_partial", 0, "3 of 4 images of the gold have no detection"),
        ("results_text_ids", 0, "ids of the results are in another form than the gold's"),
        ("results_xyxy", 0, "the results seem to have corners"),
    ],
)
def test_results_of_every_form_have_the_outcome_that_is_right(
    reports: Path, results: str, exit: int, says: str
) -> None:
    answer = run("evaluate", reports / f"{results}.json", "--gold", reports / "base.json", "--json")

    assert answer.exit_code == exit and says in answer.stderr, answer.stderr


def read(file: Path) -> Any:
    return json.loads(file.read_text())


def read_fates(gold: Path) -> dict[str, dict[str, str]]:
    """Return, by key of the row, the fate of each phrase."""
    rows = open_view(str(gold)).rows()
    return {row["key"]: {p["text"]: p["fate"] for p in row["phrases"]} for row in rows}
