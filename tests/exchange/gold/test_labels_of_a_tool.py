"""Labels of a tool become a view with their scores, never gold: nothing in them is known to be absent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from engine.views import open_view
from pipelines.cli import build_app
from student.evaluate.gold.load import read_gold

SIZE = {"width": 64, "height": 48}
BOXES = ([2, 3, 20, 15], [30, 20, 10, 10], [40, 3, 9, 9])


def coco(*scores: object) -> dict[str, Any]:
    """One box of `dog` for each score; None leaves the score out."""
    return {
        "images": [{"id": 1, "file_name": "one.jpg", **SIZE}],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": 1, "bbox": BOXES[n]}
            | ({} if score is None else {"score": score})
            for n, score in enumerate(scores)
        ],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}],
    }


def odvg(*scores: float) -> dict[str, Any]:
    regions = [
        {"bbox": [x, y, x + w, y + h], "phrase": f"a dog ({score:.2f})"}
        for (x, y, w, h), score in zip(BOXES, scores)
    ]
    return {"file_name": "one.jpg", **SIZE, "grounding": {"caption": "a dog runs", "regions": regions}}


@pytest.fixture
def labels(tmp_path: Path, picture: Callable[..., Path]) -> Callable[..., Any]:
    """Import a value with --origin teacher into `view`."""
    picture("one.jpg")

    def run(format: str, value: object, *options: str) -> Any:
        (tmp_path / "labels").write_text(json.dumps(value))
        words = ["gold", "import", format, str(tmp_path / "labels"), "--images", str(tmp_path / "images")]
        return CliRunner().invoke(build_app(), [*words, "--to", str(tmp_path / "view"), "--json", *options])

    return run


@pytest.mark.parametrize(("format", "value"), [("coco", coco(0.9, 0.4)), ("odvg", odvg(0.9, 0.4))])
def test_scores_are_kept_and_nothing_is_absent(
    tmp_path: Path, labels: Callable, format: str, value: object
) -> None:
    done = labels(format, value, "--origin", "teacher")

    assert done.exit_code == 0, done.stderr
    view = open_view(str(tmp_path / "view"))
    view.check()
    [row] = view.rows()
    assert [(r["origin"], r["fate"], round(r["score"], 6)) for r in row["regions"]] == [
        ("teacher", "positive", 0.9),
        ("teacher", "positive", 0.4),
    ]
    assert {phrase["fate"] for phrase in row["phrases"]} == {"positive"}
    provenance = view.manifest.provenance
    assert view.manifest.kind == "view" and not provenance["exhaustive"]
    assert provenance["score_kind"] == f"imported.{format}"


def test_labels_without_scores_say_so(tmp_path: Path, labels: Callable) -> None:
    labels("coco", coco(None, None), "--origin", "teacher")

    view = open_view(str(tmp_path / "view"))
    assert view.manifest.provenance["score_kind"] == "none"
    assert [region["score"] for row in view.rows() for region in row["regions"]] == [1.0, 1.0]


@pytest.mark.parametrize("score", [None, 1.5, -0.1, "0.5", float("nan"), True])
def test_a_box_without_a_score_among_others_is_refused(labels: Callable, score: object) -> None:
    done = labels("coco", coco(0.9, score), "--origin", "teacher")

    assert done.exit_code == 3
    assert json.loads(done.stdout)["records"]["annotations"]["codes"] == {"score_bad": 1}


def test_scored_labels_that_are_imported_as_human_are_told(tmp_path: Path, labels: Callable) -> None:
    done = labels("coco", coco(0.9, 0.4))

    assert done.exit_code == 0 and "2 boxes have scores" in done.stderr and "--origin teacher" in done.stderr
    [row] = open_view(str(tmp_path / "view")).rows()
    assert {(r["origin"], r["score"]) for r in row["regions"]} == {("human", 1.0)}


def test_labels_of_a_tool_are_no_truth_to_measure_on(tmp_path: Path, labels: Callable) -> None:
    labels("coco", coco(0.9), "--origin", "teacher")

    with pytest.raises(Exception, match="a teacher's labels"):
        read_gold(tmp_path / "view")


def test_labels_of_a_tool_can_be_audited(tmp_path: Path, labels: Callable) -> None:
    labels("coco", coco(0.9, 0.4, 0.7), "--origin", "teacher")

    words = [
        "audit",
        "sample",
        str(tmp_path / "view"),
        "--to",
        str(tmp_path / "audit"),
        "--n",
        "3",
        "--bins",
        "1",
    ]
    done = CliRunner().invoke(build_app(), words)

    assert done.exit_code == 0, done.stderr


def test_a_format_of_human_labels_alone_refuses_the_origin_of_a_tool(tmp_path: Path) -> None:
    (tmp_path / "Sentences").mkdir()
    words = ["gold", "import", "flickr30k", str(tmp_path), "--without-images", "--to", str(tmp_path / "to")]

    done = CliRunner().invoke(build_app(), [*words, "--origin", "teacher"])

    assert done.exit_code == 2 and "--origin is for coco and mdetr and odvg and yolo" in done.stderr
