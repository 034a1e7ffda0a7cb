"""Two views side by side: every region of either is counted once, under what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.compile.diff import diff_views
from pipelines.compile.policy import Policy
from pipelines.compile.run import compile_view
from schemas.errors import NotFoundError

LEFT, RIGHT = (0, 0, 50, 50), (100, 0, 150, 50)
UNITS = [
    [[(0, *LEFT, 0.9), (0, *RIGHT, 0.8), (1, 1, 0, 51, 50, 0.7)], [(1, *LEFT, 0.3)]],
    [[(0, *RIGHT, 0.5), (1, *LEFT, 0.6)]],
]


@pytest.fixture
def view(tmp_path: Path, write_evidence: Any) -> Any:
    write_evidence(tmp_path / "evidence", UNITS)

    def compiled(name: str, **policy: Any) -> str:
        compile_view(str(tmp_path / "evidence"), Policy(**policy), str(tmp_path / name))
        return str(tmp_path / name)

    return compiled


def test_a_view_differs_from_itself_in_nothing(view: Any) -> None:
    same = diff_views(view("a"), view("b"))

    assert same.equal and same.policy == {}
    assert (same.samples, same.regions) == ({"same": 3}, {"same": 5})


def test_another_threshold_is_named_and_its_regions_counted(view: Any) -> None:
    changed = diff_views(view("a"), view("b", min_score=0.65))

    assert not changed.equal and changed.policy == {"min_score": (0.5, 0.65)}
    assert changed.regions == {"only_first": 2, "same": 3}
    assert changed.samples == {"changed": 1, "same": 2}
    assert changed.phrases == {"positive -> unresolved": 2, "same": 4}


def test_fates_weights_and_moved_boxes_are_told_apart(view: Any) -> None:
    plain = view("a")

    ignored = diff_views(plain, view("b", min_score=0.65, ignore_score=0.2))
    weighed = diff_views(plain, view("c", weight="score"))
    merged = diff_views(plain, view("d", merge_iou=0.7))

    assert ignored.regions == {"only_second": 1, "positive -> ignore": 2, "same": 3}
    assert ignored.policy == {"ignore_score": ("floor", 0.2), "min_score": (0.5, 0.65)}
    assert weighed.policy["weight"] == ("one", "score")  # the first view's record omits it
    assert weighed.regions == {"weight": 5}
    assert merged.regions == {"box": 1, "same": 4}
    assert "positive -> ignore" in ignored.text()


def test_a_region_to_ignore_that_one_view_lacks_is_not_counted_as_a_kept_one(view: Any) -> None:
    capped = view("a", max_regions_per_phrase=1, ignore_score=0.2)

    changed = diff_views(capped, view("b", max_regions_per_phrase=1, ignore_score=None))
    less = diff_views(
        view("c", min_score=0.65, ignore_score=0.2, class_only_below=0.75),
        view("d", min_score=0.75, ignore_score=None, keep_samples_without_box=False),
    )

    assert changed.regions["only_first"] == 2 and changed.alone == {"only_first": {"ignore": 2}}
    assert less.alone == {"only_first": {"class_only": 1, "ignore": 3}}
    assert "only_first: ignore" in less.text()


def test_samples_that_only_one_view_holds_count_with_their_regions(view: Any) -> None:
    less = diff_views(view("a", min_score=0.2), view("b", min_score=0.65, keep_samples_without_box=False))

    assert less.samples == {"only_first": 2, "same": 1}
    assert less.regions == {"only_first": 3, "same": 3}


def test_a_place_without_a_view_is_not_found(view: Any, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        diff_views(view("a"), str(tmp_path / "none"))
