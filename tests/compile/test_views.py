"""Views: equal rows are equal digests and files, and what breaks the rules is neither written nor read."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import views
from engine.views import ROWS_PER_PART, check_no_other_view, check_row, open_view, write_view
from schemas.errors import ConflictError, GroundswellError, NotFoundError

PROVENANCE = {"score_kind": "made.up", "policy_digest": "sha256:0"}


def _row(index: int = 0, unit: str = "u-00000000", score: float = 0.7) -> dict:
    sample = {
        "unit": unit,
        "shard": "a/00000.tar",
        "index": index,
        "key": f"{index:09d}",
        "pixels": {"url": "a/00000.tar", "offset": 512, "length": 10, "row_group": None, "row": None},
        "image_sha256": "0" * 64,
        "source_url": None,
        "source_sha256": None,
        "license": None,
        "meta": "{}",
        "width": 64,
        "height": 48,
        "original_width": 64,
        "original_height": 48,
        "exif_orientation": 1,
        "caption": "ein Hund 🐕 und a café",
    }
    phrase = {"root": "Hund", "kind": "chunk", "groundable": True, "truncated": False}
    phrases = [
        {**phrase, "begin": 0, "end": 10, "text": "ein Hund 🐕", "fate": "positive"},
        {**phrase, "begin": 15, "end": 21, "text": "a café", "fate": "unresolved"},
        {**phrase, "begin": None, "end": None, "text": "a lynx", "kind": "decoy", "fate": "absent"},
    ]
    region = {"phrase": 0, "x0": 1.1, "y0": 2.0, "x1": 64.0, "y1": 48.0, "score": score, "class_score": None}
    region |= {"quality": None, "pass_index": 0, "p_correct": None, "q_value": None, "weight": 1.0}
    region |= {"fate": "positive", "origin": "teacher"}
    return {**sample, "phrases": phrases, "dropped_phrases": [], "regions": [region]}


def _write(path: Path, rows: list[dict], **provenance: str) -> str:
    return write_view(str(path), rows, kind="view", provenance={**PROVENANCE, **provenance}).digest


def _files(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_rows_come_back_in_order_and_over_parts(tmp_path: Path) -> None:
    rows = [_row(index) for index in range(ROWS_PER_PART + 3)]
    _write(tmp_path, rows)

    view = open_view(str(tmp_path))

    assert len(view) == len(rows) and len(view.manifest.parts) == 2
    assert [row["index"] for row in view.rows()] == list(range(len(rows)))
    assert next(view.rows())["regions"][0]["x0"] == pytest.approx(1.1)
    view.check()


def test_equal_rows_are_equal_bytes_and_writing_twice_changes_nothing(tmp_path: Path) -> None:
    first = _write(tmp_path / "a", [_row(0), _row(1)])
    again = _write(tmp_path / "a", [_row(0), _row(1)])
    other = _write(tmp_path / "b", (row for row in [_row(0), _row(1)]))

    assert first == again == other
    assert _files(tmp_path / "a") == _files(tmp_path / "b")


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=4), st.integers(0, 3), st.floats(0, 1, width=32)
)
def test_the_digest_tells_rows_apart_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, scores: list[float], at: int, other: float
) -> None:
    rows = [_row(index, score=score) for index, score in enumerate(scores)]
    changed = copy.deepcopy(rows)
    changed[at % len(rows)]["regions"][0]["score"] = other
    folder = tmp_path_factory.mktemp("views")

    digest = _write(folder / "a", rows)

    assert _write(folder / "b", rows, policy_digest="sha256:1") == digest  # provenance is not content
    assert (_write(folder / "c", changed) == digest) == (changed == rows)


def test_a_view_in_an_object_store_is_the_same_view(tmp_path: Path) -> None:
    url = f"memory://views{tmp_path}"

    manifest = write_view(url, [_row(0), _row(1)], kind="view", provenance=PROVENANCE)

    assert manifest.digest == _write(tmp_path, [_row(0), _row(1)])
    assert list(open_view(url).rows()) == list(open_view(str(tmp_path)).rows())


def test_another_view_in_the_same_folder_is_a_conflict(tmp_path: Path) -> None:
    _write(tmp_path, [_row(0)])

    with pytest.raises(ConflictError, match="choose another folder"):
        _write(tmp_path, [_row(0), _row(1)])


def test_a_view_whose_writing_was_cut_short_does_not_exist(tmp_path: Path) -> None:
    def rows():
        yield from (_row(index) for index in range(ROWS_PER_PART))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_view(str(tmp_path), rows(), kind="view", provenance=PROVENANCE)

    assert list((tmp_path / "data").iterdir())
    with pytest.raises(NotFoundError, match="write it again"):
        open_view(str(tmp_path))
    assert _write(tmp_path, [_row(0)])


def test_a_changed_part_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, [_row(0)])
    part = next((tmp_path / "data").iterdir())
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)

    with pytest.raises(ConflictError, match="sha256"):
        list(open_view(str(tmp_path)).rows())


def test_a_manifest_with_another_views_digest_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, [_row(0)])
    manifest = json.loads((tmp_path / "view.json").read_text())
    manifest["digest"] = "sha256:" + "0" * 64
    (tmp_path / "view.json").write_text(json.dumps(manifest))

    with pytest.raises(ConflictError, match="write the view again"):
        open_view(str(tmp_path)).check()


def _broken(**change: object) -> dict:
    row = _row()
    for path, value in change.items():
        target, *middle, last = [row, *path.split("__")]
        for step in middle:
            target = target[int(step) if step.isdigit() else step]
        target[last] = value
    return row


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"phrases__0__text": "ein Hund"}, "span"),
        ({"phrases__0__end": 11}, "span"),
        ({"phrases__0__kind": "word"}, "phrase kind 'word'"),
        ({"phrases__1__begin": None}, "has no span"),
        ({"phrases__2__begin": 1}, "decoy and has a span"),
        ({"phrases__1__fate": "positive"}, "has no box"),
        ({"phrases__0__fate": "absent"}, "has a box"),
        ({"regions__0__phrase": 3}, "phrase 3 of 3"),
        ({"regions__0__x1": 64.5}, "outside the image"),
        ({"regions__0__y0": 48.0}, "is empty"),
        ({"regions__0__x0": float("nan")}, "outside the image"),
        ({"regions__0__score": float("inf")}, "finite"),
        ({"regions__0__fate": "maybe"}, "region fate 'maybe'"),
        ({"regions__0__origin": "crowd"}, "origin 'crowd'"),
        ({"regions__0__label": "dog"}, "fields \\['label'\\]"),
    ],
)
def test_a_row_that_breaks_the_rules_is_not_written(tmp_path: Path, change: dict, reason: str) -> None:
    check_row(_row())

    with pytest.raises(GroundswellError, match=f"{reason}.*defect of the importer or compiler; report it"):
        _write(tmp_path, [_broken(**change)])


def test_a_row_out_of_order_or_doubled_is_not_written(tmp_path: Path) -> None:
    apart = [_row(0, "u-1"), _row(0, "u-2"), _row(0, "u-1")]
    for rows in ([_row(1), _row(0)], [_row(0), _row(0)], apart):
        with pytest.raises(GroundswellError, match="index order"):
            _write(tmp_path, rows)

    assert _write(tmp_path, [_row(1, "u-1"), _row(0, "u-2")])


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        ('"path": "data/', '"path": "../../data/', "does not have the form data/NUMBER"),
        ('"rows": 2', '"rows": 3', "has 2 rows, its manifest says 3"),
    ],
)
def test_a_manifest_that_tells_of_other_parts_is_refused(
    tmp_path: Path, was: str, now: str, says: str
) -> None:
    write_view(str(tmp_path), [_row(0), _row(1)], kind="view", provenance={})
    path = tmp_path / "view.json"
    path.write_text(path.read_text().replace(was, now))

    with pytest.raises(ConflictError, match=says):
        list(open_view(str(tmp_path)).rows())


def test_a_manifest_whose_parts_do_not_add_up_is_refused(tmp_path: Path) -> None:
    write_view(str(tmp_path), [_row(0), _row(1)], kind="view", provenance={})
    path = tmp_path / "view.json"
    path.write_text(path.read_text().replace('"rows": 2', '"rows": 3', 1))

    with pytest.raises(ConflictError, match="rows, its parts have ."):
        open_view(str(tmp_path))


def test_a_view_that_is_refused_leaves_nothing_in_the_folder_of_the_one_that_stands(tmp_path: Path) -> None:
    write_view(str(tmp_path), [_row(0)], kind="view", provenance={})
    before = _files(tmp_path)

    for rows, provenance in (([_row(0), _row(1)], {}), ([_row(0)], {"policy": "other"})):
        with pytest.raises(ConflictError, match="already has another view"):
            write_view(str(tmp_path), rows, kind="view", provenance=provenance)
    assert _files(tmp_path) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_another_kind_is_never_replaced_and_the_error_names_both(tmp_path: Path, overwrite: bool) -> None:
    write_view(str(tmp_path), [_row(0)], kind="gold", provenance={})
    before = _files(tmp_path)

    with pytest.raises(
        ConflictError, match="has a gold, which a view does not replace: choose another folder$"
    ):
        write_view(str(tmp_path), [_row(1)], kind="view", provenance={}, overwrite=overwrite)
    with pytest.raises(
        ConflictError, match="has a gold, which a view does not replace: choose another folder$"
    ):
        check_no_other_view(str(tmp_path), kind="view", provenance={})
    assert _files(tmp_path) == before


def test_a_stored_row_that_breaks_the_rules_is_a_damaged_view(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as lenient:
        lenient.setattr(views, "check_row", lambda row: None)
        _write(tmp_path, [_broken(regions__0__phrase=3)])

    with pytest.raises(ConflictError, match="phrase 3 of 3; restore the folder or write the view again"):
        open_view(str(tmp_path)).check()
