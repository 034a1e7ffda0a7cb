"""Results are joined to gold by the ids of the file that both are of, and what does not join is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from pipelines.cli import build_app
from pipelines.exchange.gold.options import ImportOptions
from pipelines.exchange.import_gold import import_gold
from schemas.errors import ConfigError
from student.evaluate.run import evaluate

BOX, OTHER = [20, 30, 60, 50], [110, 60, 70, 80]


def gold_of(images: list[Any], categories: dict[Any, str]) -> dict[str, Any]:
    """Two boxes of the first two categories in each image but the last."""
    first, second = list(categories)[:2]
    return {
        "images": [
            {"id": i, "file_name": f"{n}.jpg", "width": 200, "height": 160} for n, i in enumerate(images)
        ],
        "categories": [{"id": i, "name": name} for i, name in categories.items()],
        "annotations": [
            {"id": 2 * n + k, "image_id": image, "category_id": category, "bbox": box}
            for n, image in enumerate(images[:-1])
            for k, (category, box) in enumerate([(first, BOX), (second, OTHER)])
        ],
    }


PLAIN = gold_of([1, 2, 3], {1: "mug", 2: "lamp"})


def perfect(gold: dict[str, Any]) -> list[dict[str, Any]]:
    fields = ("image_id", "category_id", "bbox")
    return [{**{name: row[name] for name in fields}, "score": 0.9} for row in gold["annotations"]]


def write_inputs(
    folder: Path, gold: dict[str, Any], results: list[dict[str, Any]]
) -> tuple[Path, Path, Path]:
    """Write a results file, a gold file, and its import."""
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "gold.json").write_text(json.dumps(gold))
    import_gold("coco", folder / "gold.json", str(folder / "gold"), ImportOptions())
    return folder / "results.json", folder / "gold.json", folder / "gold"


def run_evaluate(*words: object) -> Result:
    return CliRunner().invoke(build_app(), ["evaluate", *map(str, words), "--json"])


@pytest.mark.parametrize(
    ("images", "categories"),
    [
        ([1, 2, 3], {1: "mug", 2: "lamp"}),
        ([0, 1, 2], {0: "mug", 1: "lamp"}),
        ([139, 7, 40], {90: "lamp", 18: "mug", 3: "never boxed"}),
        (["im1", "im2", "im3"], {1: "mug", 2: "lamp"}),
        ([1, 2, 3], {"mug-id": "mug", "lamp-id": "lamp"}),
        ([-1, 2, 3], {-4: "mug", 2: "lamp"}),
        ([1, 2, 3], {5: "bow_(weapon)", 6: "bow"}),
        ([1.0, 2.0, 3.0], {1.0: "mug", 2.0: "lamp"}),
    ],
    ids=["plain", "from 0", "unsorted", "text images", "text categories", "negative", "one name", "floats"],
)
def test_perfect_results_score_the_same_against_a_file_and_its_import(
    tmp_path: Path, images: list[Any], categories: dict[Any, str]
) -> None:
    gold = gold_of(images, categories)
    results, file, folder = write_inputs(tmp_path, gold, perfect(gold))

    for form in (file, folder):
        report = evaluate(results, form, bootstrap=10)
        assert report["AP"] == pytest.approx(1) and report["detections"] == 4
        assert "unmatched" not in report


def test_results_for_an_import_without_category_ids_are_refused_with_the_remedy(tmp_path: Path) -> None:
    results, _, folder = write_inputs(tmp_path, PLAIN, perfect(PLAIN))
    manifest = json.loads((folder / "view.json").read_text())
    manifest["provenance"].pop("category_ids", None)
    (folder / "view.json").write_text(json.dumps(manifest))

    answer = run_evaluate(results, "--gold", folder)

    assert answer.exit_code == 2 and answer.stdout == ""
    assert "0 of 2 category ids match" in answer.stderr and "import COCO gold again" in answer.stderr


def test_results_for_a_grounding_file_are_refused_against_its_import(tmp_path: Path) -> None:
    gold = gold_of([0, 1, 2], {1: "object", 2: "other"})
    for image in gold["images"]:
        image["caption"] = "a mug and a lamp"
    for row in gold["annotations"]:
        row |= {"tokens_positive": [[0, 5]], "category_id": 1}
    (tmp_path / "results.json").write_text(json.dumps(perfect(gold)))
    (tmp_path / "gold.json").write_text(json.dumps(gold))
    import_gold("mdetr", tmp_path / "gold.json", str(tmp_path / "gold"), ImportOptions())

    with pytest.raises(ConfigError, match="2 of 2 image ids match.*0 of 1 category ids match"):
        evaluate(tmp_path / "results.json", tmp_path / "gold", bootstrap=0)


def test_category_ids_are_no_part_of_the_golds_digest(tmp_path: Path) -> None:
    """Computed at 47d028d."""
    _, _, folder = write_inputs(tmp_path, PLAIN, [])
    manifest = json.loads((folder / "view.json").read_text())

    assert manifest["digest"] == "sha256:1fdba4226e198c5212e9d3b387fd1a8fdb1e5b32cdacf891e22e09be2a93d43b"
    assert manifest["provenance"]["category_ids"] == {"1": "mug", "2": "lamp"}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"image_id": 900}, "0 of 1 image ids match: 900 in the results, 1, 2, 3 in the gold"),
        ({"category_id": 90}, "0 of 1 category ids match: 90 in the results, 1, 2 in the gold"),
    ],
)
def test_a_join_in_which_nothing_matches_is_refused_with_counts(
    tmp_path: Path, changed: dict[str, int], says: str
) -> None:
    results, file, _ = write_inputs(tmp_path, PLAIN, [row | changed for row in perfect(PLAIN)])

    answer = run_evaluate(results, "--gold", file)

    assert answer.exit_code == 2 and says in answer.stderr


def test_a_partial_join_says_what_it_leaves_out(tmp_path: Path) -> None:
    rows = perfect(PLAIN)
    results, file, folder = write_inputs(
        tmp_path, PLAIN, [*rows, rows[0] | {"image_id": 9, "category_id": 7}]
    )

    for form in (file, folder):
        answer = run_evaluate(results, "--gold", form)
        report = json.loads(answer.stdout)
        assert answer.exit_code == 0 and report["AP"] == pytest.approx(1)
        assert report["unmatched"] == {"detections": 1, "images": 1, "categories": 1}
        assert "1 of 5 detections are left out" in answer.stderr
        assert "image ids 9 (1) and the category ids 7 (1)" in answer.stderr
        assert "1 of 3 images of the gold have no detection: 3" in answer.stderr


def test_a_join_that_mostly_failed_is_no_success(tmp_path: Path) -> None:
    far = [row | {"image_id": 900} for row in perfect(PLAIN)]
    results, file, _ = write_inputs(tmp_path, PLAIN, [*far, perfect(PLAIN)[0]])

    answer = run_evaluate(results, "--gold", file)

    assert answer.exit_code == 3 and json.loads(answer.stdout)["unmatched"]["detections"] == 4
    assert "most detections were left out" in answer.stderr


def test_ids_in_another_form_join_and_are_counted(tmp_path: Path) -> None:
    changed = [
        r | {"image_id": str(r["image_id"]), "category_id": float(r["category_id"])} for r in perfect(PLAIN)
    ]
    results, file, folder = write_inputs(tmp_path, PLAIN, changed)

    for form in (file, folder):
        answer = run_evaluate(results, "--gold", form)
        assert json.loads(answer.stdout)["AP"] == pytest.approx(1)
        assert "8 ids of the results are in another form than the gold's, e.g. '1' for 1" in answer.stderr


def test_corners_in_place_of_sides_are_told(tmp_path: Path) -> None:
    rows = perfect(PLAIN)
    for row in rows:
        x, y, width, height = row["bbox"]
        row["bbox"] = [x, y, x + width, y + height]
    results, file, _ = write_inputs(tmp_path, PLAIN, rows)

    notes = " ".join(evaluate(results, file, bootstrap=0)["notes"])

    assert "2 of 4 boxes leave their image" in notes
    plain = evaluate(*write_inputs(tmp_path, PLAIN, perfect(PLAIN))[:2], bootstrap=0)
    assert "leave their image" not in " ".join(plain["notes"])


def test_a_detection_that_is_none_is_named(tmp_path: Path) -> None:
    for changed, says in (
        ({"image_id": None}, "detection 3 has image_id None"),
        ({"category_id": 1.5}, "detection 3 has category_id 1.5"),
    ):
        rows = perfect(PLAIN)
        rows[3] |= changed
        results, file, _ = write_inputs(tmp_path, PLAIN, rows)
        with pytest.raises(ConfigError, match=says):
            evaluate(results, file, bootstrap=0)
    del rows[3]["score"]
    results, file, _ = write_inputs(tmp_path, PLAIN, rows)
    with pytest.raises(ConfigError, match="detection 3 has no score"):
        evaluate(results, file, bootstrap=0)


@pytest.mark.parametrize("refused", [[float("nan"), 30, 60, 50], [20, 30, 0, 50], None])
def test_a_detection_of_a_class_whose_box_was_refused_is_no_error(tmp_path: Path, refused: Any) -> None:
    results = perfect(PLAIN)
    gold = json.loads(json.dumps(PLAIN))
    gold["annotations"][0]["bbox"] = refused
    crowd = {"id": 90, "image_id": 1, "category_id": 1, "bbox": OTHER, "iscrowd": 1}
    for name, more in {"alone": [], "kept": [{**crowd, "iscrowd": 0}], "crowd": [crowd]}.items():
        (tmp_path / name).mkdir()
        changed = {**gold, "annotations": [*gold["annotations"], *more]}
        path, _, folder = write_inputs(tmp_path / name, changed, results)

        assert evaluate(path, folder, bootstrap=0)["AP"] == pytest.approx(1)


def test_a_detection_outside_a_crowd_is_an_error_where_no_box_was_refused(tmp_path: Path) -> None:
    gold = json.loads(json.dumps(PLAIN))
    gold["annotations"][0] |= {"bbox": OTHER, "iscrowd": 1}
    results, _, folder = write_inputs(tmp_path, gold, perfect(PLAIN))

    assert evaluate(results, folder, bootstrap=0)["AP"] < 1


def test_gold_of_which_every_box_was_refused_is_not_measured_on(tmp_path: Path) -> None:
    gold = {**PLAIN, "annotations": [{**one, "bbox": None} for one in PLAIN["annotations"]]}
    results, _, folder = write_inputs(tmp_path, gold, perfect(PLAIN))

    with pytest.raises(ConfigError, match="cannot be measured on.*no box is left"):
        evaluate(results, folder, bootstrap=0)


def test_an_ap_of_0_is_told_with_what_to_check(tmp_path: Path) -> None:
    rows = perfect(PLAIN)
    others = [
        [row | {"category_id": 3 - row["category_id"]} for row in rows],
        [row | {"bbox": [side / 200 for side in row["bbox"]]} for row in rows],
    ]
    for changed in others:
        results, file, folder = write_inputs(tmp_path, PLAIN, changed)
        for form in (file, folder):
            answer = run_evaluate(results, "--gold", form)
            assert json.loads(answer.stdout)["AP"] == 0 and "so AP is 0: check" in answer.stderr
        folder.rename(tmp_path / f"gold {len(list(tmp_path.iterdir()))}")
    plain = run_evaluate(*write_inputs(tmp_path, PLAIN, rows)[:1], "--gold", file)
    assert "so AP is 0" not in plain.stderr


def scatter_boxes(images: list[int], categories: dict[int, str]) -> dict[str, Any]:
    """Gold whose boxes are at another place in each image and category."""
    gold = gold_of(images, categories)
    for n, row in enumerate(gold["annotations"]):
        row["bbox"] = [20 * n, 10 * n, 18, 9]
    return gold


@pytest.mark.parametrize("field", ["image_id", "category_id"])
@pytest.mark.parametrize("shift", [1, -1])
def test_ids_that_match_by_accident_are_refused_with_the_evidence(
    tmp_path: Path, field: str, shift: int
) -> None:
    gold = scatter_boxes([1, 2, 3, 4, 5], {1: "mug", 2: "lamp", 3: "cat"})
    if shift > 0 and field == "category_id":
        for row in gold["annotations"]:
            row["category_id"] += 1
    results = [{**row, field: row[field] - shift} for row in perfect(gold)]
    files = write_inputs(tmp_path, gold, results)

    for form in files[1:]:
        with pytest.raises(ConfigError, match=f"{field[:-3]} ids match by accident"):
            evaluate(files[0], form, bootstrap=0)


def test_a_model_that_takes_one_class_for_its_neighbor_is_measured(tmp_path: Path) -> None:
    gold = scatter_boxes([1, 2, 3, 4, 5], {1: "mug", 2: "lamp"})
    results = [{**row, "category_id": 2} for row in perfect(gold) if row["category_id"] == 1]
    results_file, gold_file, _ = write_inputs(tmp_path, gold, results)

    assert evaluate(results_file, gold_file, bootstrap=0)["AP"] == 0
