"""A class of which a record was refused is unknown in that image: unresolved, never absent, in every format."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipelines.cli import build_app

SIZE = {"width": 64, "height": 48}
BOX = [0, 0, 5, 5]
BAD_BOXES: dict[str, Any] = {
    "not finite": {"bbox": [float("nan"), 0, 5, 5]},
    "infinite": {"bbox": [0, 0, float("inf"), 5]},
    "zero width": {"bbox": [3, 3, 0, 9]},
    "negative": {"bbox": [9, 9, -4, 9]},
    "outside": {"bbox": [64, 0, 5, 5]},
    "no bbox": {},
    "null": {"bbox": None},
    "empty list": {"bbox": []},
    "mask only": {"segmentation": {"size": [48, 64], "counts": "abc"}},
    "polygon of no number": {"segmentation": [[0, 0, None, 0, 5, 5]]},
    "polygon of two points": {"segmentation": [[0, 0, 5, 5]]},
    "text": {"bbox": ["0", "0", "5", "5"]},
    "an object": {"bbox": {"x": 0}},
}
CAPTION = "a man and a red dog"


def coco(annotations: list[dict], **image: Any) -> dict:
    return {
        "images": [{"id": 7, "file_name": "one.jpg", **SIZE, **image}],
        "annotations": [{"id": n, "image_id": 7, **a} for n, a in enumerate(annotations)],
        "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "lynx"}],
    }


def detection(*instances: Any) -> dict:
    return {"filename": "one.jpg", **SIZE, "detection": {"instances": list(instances)}}


def instance(bbox: Any = BOX, **fields: Any) -> dict:
    return {"bbox": bbox, **fields}


@pytest.fixture
def label_map(tmp_path: Path) -> Path:
    (tmp_path / "labels.json").write_text('{"0": "cup", "1": "dog", "2": "lynx"}')
    return tmp_path / "labels.json"


CUP = {"bbox": BOX, "category_id": 1}


@pytest.mark.parametrize("bad", BAD_BOXES.values(), ids=BAD_BOXES)
@pytest.mark.parametrize("negatives", ["all", "authors"])
def test_a_class_whose_box_was_refused_is_unresolved_and_the_others_stay_absent(
    imported: Callable, fates: Callable, bad: dict, negatives: str
) -> None:
    _, [row] = imported("coco", coco([CUP, {"category_id": 2, **bad}]), negatives=negatives)

    assert fates(row) == {"cup": "positive", "dog": "unresolved", "lynx": "absent"}


@pytest.mark.parametrize("category", [99, None, True, 2.5, "dog", [2]])
def test_an_annotation_of_no_known_class_leaves_no_class_absent(
    imported: Callable, fates: Callable, category: Any
) -> None:
    _, [row] = imported("coco", coco([CUP, {"bbox": BOX, "category_id": category}]))

    assert fates(row) == dict.fromkeys(["cup", "dog", "lynx"], "unresolved")


def test_boxes_beside_a_refused_one_stay_in_the_row_and_are_not_learned_from(
    imported: Callable, fates: Callable, box_of: Callable
) -> None:
    _, [row] = imported("coco", coco([CUP, {**CUP, "bbox": None}]))

    assert fates(row)["cup"] == "unresolved"
    assert [(r["fate"], box_of(r)) for r in row["regions"]] == [("ignore", (0, 0, 5, 5))]
    assert json.loads(row["meta"])["not_exhaustive"] == ["cup"]


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        ({"category_id": 2}, {"cup": "positive", "dog": "unresolved", "lynx": "absent"}),
        ({"category_id": 3}, {"cup": "positive", "dog": "absent", "lynx": "unresolved"}),
        ({"category_id": 9}, {"cup": "unresolved", "dog": "unresolved", "lynx": "unresolved"}),
    ],
)
def test_a_listed_negative_of_which_a_box_was_refused_is_not_absent(
    imported: Callable, fates: Callable, bad: dict, expected: dict
) -> None:
    _, [row] = imported("coco", coco([CUP, bad], neg_category_ids=[2, 3]))

    assert fates(row) == expected


def test_an_image_without_its_list_says_nothing_of_absence_where_others_have_one(
    imported: Callable, fates: Callable
) -> None:
    held = coco([CUP], neg_category_ids=[2])
    held["images"].append({"id": 8, "file_name": "two.jpg", **SIZE})
    held["annotations"].append({**CUP, "id": 9, "image_id": 8})

    _, rows = imported("coco", held)

    assert [fates(row) for row in rows] == [{"cup": "positive", "dog": "absent"}, {"cup": "positive"}]


def test_a_class_of_an_annotation_without_an_image_is_absent_nowhere(
    imported: Callable, fates: Callable
) -> None:
    _, [row] = imported("coco", coco([CUP, {"bbox": BOX, "category_id": 2, "image_id": None}]))

    assert fates(row) == {"cup": "positive", "dog": "unresolved", "lynx": "absent"}


@pytest.mark.parametrize("value", [None, "none", 5, {}, [None]])
def test_annotations_that_are_no_list_make_no_class_absent_and_an_empty_list_does(
    imported: Callable, fates: Callable, value: Any
) -> None:
    _, [row] = imported("coco", {**coco([]), "annotations": value})
    _, [empty] = imported("coco", coco([]))

    assert set(fates(row).values()) == {"unresolved"} and set(fates(empty).values()) == {"absent"}


@pytest.mark.parametrize(
    ("bad", "dog", "others"),
    [
        (instance(None, label=1), "unresolved", "absent"),
        (instance([5, 5, 5, 9], label=1, category="dog"), "unresolved", "absent"),
        (instance([1e300, 0, 5, 5], category="dog"), "unresolved", "absent"),
        (instance(label=7), "unresolved", "unresolved"),
        (instance(label=1, category="cup"), "unresolved", "unresolved"),
        (instance(), "unresolved", "unresolved"),
        ("dog", "unresolved", "unresolved"),
    ],
)
def test_with_a_label_map_a_refused_instance_leaves_its_class_open_or_all_if_it_names_none(
    imported: Callable,
    as_lines: Callable,
    fates: Callable,
    label_map: Path,
    bad: Any,
    dog: str,
    others: str,
) -> None:
    lines = as_lines(detection(bad), detection(instance(label=0)))

    _, [row, good] = imported("odvg", lines, label_map=label_map)
    _, [draw_names, _] = imported("odvg", lines, label_map=label_map, negatives="authors")

    assert fates(row) == fates(draw_names) == {"cup": others, "dog": dog, "lynx": others}
    assert fates(good) == {"cup": "positive", "dog": "absent", "lynx": "absent"}


def test_without_a_label_map_a_refused_class_is_listed_as_unresolved(
    imported: Callable, as_lines: Callable, fates: Callable
) -> None:
    cup, other = instance(category="cup"), detection(instance(category="lynx"))

    _, [row, _] = imported("odvg", as_lines(detection(cup, instance(None, category="dog")), other))
    _, [unnamed, _] = imported("odvg", as_lines(detection(cup, instance()), other))

    assert fates(row) == {"cup": "positive", "dog": "unresolved"}
    assert fates(unnamed) == {"cup": "unresolved", "lynx": "unresolved"}  # all that the file names


def test_a_phrase_of_which_a_box_was_refused_is_unresolved(
    imported: Callable, as_lines: Callable, fates: Callable, tmp_path: Path
) -> None:
    spans = {"tokens_positive": [[10, 19]]}
    held = coco([{"bbox": BOX, "tokens_positive": [[0, 5]]}, spans, {**spans, "bbox": BOX}], caption=CAPTION)
    regions = [
        instance(phrase="a man"),
        instance(phrase="a red dog"),
        instance([9, 9, 9, 9], phrase="a red dog"),
    ]
    line = {"filename": "one.jpg", **SIZE, "grounding": {"caption": CAPTION, "regions": regions}}

    _, [mdetr] = imported("mdetr", held)
    _, [odvg] = imported("odvg", as_lines(line))
    _, [flickr] = imported("flickr30k", flickr_folder(tmp_path))

    for row in (mdetr, odvg, flickr):
        assert fates(row) == {"a man": "positive", "a red dog": "unresolved"}
        assert sorted(region["fate"] for region in row["regions"]) == ["ignore", "positive"]


def flickr_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "flickr"
    for part in ("Sentences", "Annotations"):
        (folder / part).mkdir(parents=True)
    (folder / "Sentences/one.txt").write_text("[/EN#1/people a man] and [/EN#2/animals a red dog]\n")
    boxes = [(1, (1, 1, 5, 5)), (2, (1, 1, 5, 5)), (2, (90, 90, 99, 99))]
    objects = [
        f"<object><name>{chain}</name><bndbox>"
        + "".join(f"<{side}>{at}</{side}>" for side, at in zip(("xmin", "ymin", "xmax", "ymax"), box))
        + "</bndbox></object>"
        for chain, box in boxes
    ]
    size = "<size><width>64</width><height>48</height></size>"
    (folder / "Annotations/one.xml").write_text(f"<annotation>{size}{''.join(objects)}</annotation>")
    return folder


def run(tmp_path: Path, *words: str) -> tuple[int, str, str]:
    to = str(tmp_path / f"gold-{len(list(tmp_path.glob('gold-*')))}")
    result = CliRunner().invoke(
        build_app(), ["gold", "import", *words, "--to", to, "--without-images", "--json"]
    )
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("value", [[{"category_id": 1}, {"category_id": 2, "bbox": [0, 0, 0, 5]}], None])
def test_an_import_of_which_every_box_was_refused_exits_3_with_counts_and_reasons(
    tmp_path: Path, value: Any
) -> None:
    held = coco(value or [])
    (tmp_path / "file.json").write_text(json.dumps(held if value else {**held, "annotations": None}))

    code, out, err = run(tmp_path, "coco", str(tmp_path / "file.json"))

    assert code == 3 and json.loads(out)["rows"] == 1
    if value:
        assert "file.json: no box is left: 2 of 2 annotations were refused" in err
        assert "box_not_numbers 1, box_empty 1" in err or "box_empty 1, box_not_numbers 1" in err
    else:
        assert "1 of 1 annotations were refused (field_missing 1, e.g. one: expected a list" in err


@pytest.mark.parametrize(("shift", "first"), [(-1, 0), (1, 2)])
def test_category_ids_that_are_off_by_one_are_told_with_the_remedy(
    tmp_path: Path, shift: int, first: int
) -> None:
    held = coco([{"bbox": BOX, "category_id": number + shift} for number in (1, 2, 3)])
    (tmp_path / "file.json").write_text(json.dumps(held))

    code, out, err = run(tmp_path, "coco", str(tmp_path / "file.json"))

    assert code == 3 and "off by one" in json.loads(out)["problems"][0]
    assert "1 of 3 name no category. They are off by one" in err
    assert f"let the category ids count from {first} and import again" in err


@pytest.mark.parametrize("ids", [[1, 2, 3], [1, 2, 99], [1, 2, 4], [2, 3], [1]])
def test_category_ids_are_not_called_off_by_one_without_proof(tmp_path: Path, ids: list[int]) -> None:
    (tmp_path / "file.json").write_text(json.dumps(coco([{"bbox": BOX, "category_id": n} for n in ids])))

    assert "off by one" not in run(tmp_path, "coco", str(tmp_path / "file.json"))[2]


def test_an_import_of_which_every_kept_box_is_to_be_ignored_exits_3(tmp_path: Path) -> None:
    held = coco([CUP, {"bbox": BOX, "category_id": 9}])  # `categories` lacks a class of the file
    (tmp_path / "file.json").write_text(json.dumps(held))

    code, _, err = run(tmp_path, "coco", str(tmp_path / "file.json"))

    assert code == 3
    assert "no box is left: 1 of 2 annotations were refused (category_unknown 1, e.g. 1" in err
    assert "the others are to be ignored" in err


def test_boxes_that_a_split_leaves_out_are_not_refused(tmp_path: Path) -> None:
    held = coco([CUP])
    held["images"].append({"id": 8, "file_name": "two.jpg", **SIZE})
    (tmp_path / "file.json").write_text(json.dumps(held))
    (tmp_path / "split.txt").write_text("two")

    code, out, _ = run(tmp_path, "coco", str(tmp_path / "file.json"), "--split", str(tmp_path / "split.txt"))

    assert code == 0 and json.loads(out)["records"]["annotations"]["codes"] == {"not_in_split": 1}


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("named", [True, False])
def test_a_label_map_that_is_off_by_one_is_told_with_its_evidence_and_exits_3(
    tmp_path: Path, as_lines: Callable, first: int, named: bool
) -> None:
    names = ["cup", "dog", "lynx"]
    items = [
        instance(label=1 - first + n, **({"category": name} if named else {})) for n, name in enumerate(names)
    ]
    (tmp_path / "lines").write_text(as_lines(*map(detection, items)))
    map_file = tmp_path / "labels.json"
    map_file.write_text(json.dumps({str(first + n): name for n, name in enumerate(names)}))

    code, _, err = run(tmp_path, "odvg", str(tmp_path / "lines"), "--label-map", str(map_file))

    assert code == 3 and f"indices are {first} to {first + 2}" in err
    assert f"let its indices count from {1 - first} and import again" in err


def test_a_label_map_is_called_off_by_one_though_a_class_does_not_occur(
    tmp_path: Path, as_lines: Callable
) -> None:
    map_file = tmp_path / "labels.json"
    map_file.write_text('{"0": "cup", "1": "dog", "2": "lynx"}')
    (tmp_path / "lines").write_text(as_lines(*(detection(instance(label=n)) for n in (1, 3))))

    code, _, err = run(tmp_path, "odvg", str(tmp_path / "lines"), "--label-map", str(map_file))

    assert code == 3 and "The map is off by one" in err


def test_a_label_map_is_not_called_wrong_without_proof(tmp_path: Path, as_lines: Callable) -> None:
    map_file = tmp_path / "labels.json"
    map_file.write_text('{"0": "cup", "1": "dog", "2": "lynx"}')
    for labels in ([0, 1, 2], [1, 2], [0, 3], [0, 1, 2, 3], [1, 2, 3, 18]):
        (tmp_path / "lines").write_text(as_lines(*(detection(instance(label=n)) for n in labels)))

        code, _, err = run(tmp_path, "odvg", str(tmp_path / "lines"), "--label-map", str(map_file))

        assert "off by one" not in err, labels
        assert code == (3 if max(labels) > 2 else 0)


def test_gold_without_a_refused_box_keeps_the_digest_that_it_always_had(
    imported: Callable, as_lines: Callable, label_map: Path, tmp_path: Path
) -> None:
    crowd = {**CUP, "category_id": 2, "iscrowd": 1}
    lists = {"neg_category_ids": [2], "not_exhaustive_category_ids": [3]}
    lines = as_lines(detection(instance(label=1), instance(label=2)), detection())
    imports = [
        ("coco", coco([CUP, crowd]), {}),
        ("coco", coco([CUP, crowd]), {"negatives": "authors", "seed": 2}),
        ("coco", coco([CUP], **lists), {}),
        ("odvg", lines, {"label_map": label_map}),
        ("mdetr", coco([{"bbox": BOX, "tokens_positive": [[0, 5]]}], caption=CAPTION), {}),
    ]

    digests = [imported(form, content, **options)[0].digest[7:19] for form, content, options in imports]

    assert digests == ["d8ca7a1ddc2b", "d266b11202c9", "d1f2a641bb4c", "6b57fad654c6", "15a616d886dd"]
