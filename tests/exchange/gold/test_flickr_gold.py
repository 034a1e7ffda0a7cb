"""Flickr30k Entities: marked sentences and one-based inclusive boxes by phrase chain."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.exchange.gold.xml_file import read_xml
from pipelines.exchange.importers.flickr30k import parse_sentence
from schemas.errors import ConfigError
from student.gold.account import RecordError

SENTENCE = (
    "[/EN#1/people/other Two men] on [/EN#2/scene a street] see [/EN#0/notvisual each other] "
    "and [/EN#3/animals dogs] .\n"
)


def object_xml(chains: list[int], box: list[int] | None = None, flag: str = "") -> str:
    names = "".join(f"<name>{chain}</name>" for chain in chains)
    sides = zip(("xmin", "ymin", "xmax", "ymax"), box or [], strict=False)
    place = "<bndbox>" + "".join(f"<{s}>{v}</{s}>" for s, v in sides) + "</bndbox>" if box else ""
    return f"<object>{names}{place}{flag}</object>"


def write(folder: Path, objects: list[str], sentences: str = SENTENCE, name: str = "12") -> Path:
    for part in ("Sentences", "Annotations"):
        (folder / "flickr" / part).mkdir(parents=True, exist_ok=True)
    (folder / "flickr/Sentences" / f"{name}.txt").write_text(sentences, encoding="utf-8")
    size = "<size><width>64</width><height>48</height><depth>3</depth></size>"
    (folder / "flickr/Annotations" / f"{name}.xml").write_text(
        f"<annotation><filename>{name}.jpg</filename>{size}{''.join(objects)}</annotation>"
    )
    return folder / "flickr"


def test_phrases_are_positive_unresolved_or_dropped_and_boxes_half_open(
    tmp_path: Path, imported: Callable, fates: Callable, box_of: Callable, picture: Callable
) -> None:
    picture("12.jpg")
    objects = [
        object_xml([1], [1, 1, 10, 20]),
        object_xml([1, 3], [30, 1, 64, 48]),  # one box of two chains, and a second box of the first
        object_xml([2], flag="<scene>1</scene><nobndbox>1</nobndbox>"),
    ]

    report, [row] = imported("flickr30k", write(tmp_path, objects))

    assert row["caption"] == "Two men on a street see each other and dogs ."
    assert fates(row) == {"Two men": "positive", "a street": "unresolved", "dogs": "positive"}
    assert [(r["phrase"], box_of(r)) for r in row["regions"]] == [
        (0, (0, 0, 10, 20)),
        (0, (29, 0, 64, 48)),
        (2, (29, 0, 64, 48)),
    ]
    assert [(d["text"], d["code"]) for d in row["dropped_phrases"]] == [("each other", "PH_STOP_HEAD")]
    assert json.loads(row["meta"]) == {
        "sentence": 0,
        "chains": ["1", "2", "3"],
        "types": ["people/other", "scene", "animals"],
    }
    assert report.facts == {"mentions": 4, "not_visual": 1, "without_box": 1} and not report.exhaustive


def test_objects_that_cannot_be_used_are_counted(tmp_path: Path, imported: Callable) -> None:
    objects = [
        object_xml([1], [0, 1, 70, 20]),
        object_xml([1], [20, 20, 5, 5]),
        object_xml([99], [1, 1, 5, 5]),
        object_xml([1]),
        object_xml([], [1, 1, 5, 5]),
        object_xml([1], [100, 100, 110, 110]),
        "<object><name>1</name><bndbox><xmin>a</xmin></bndbox></object>",
    ]

    report, [row] = imported("flickr30k", write(tmp_path, objects))

    told = report.records["objects"]
    assert (told["in"], told["kept"], told["repaired"], told["refused"]) == (7, 0, 2, 5)
    assert told["codes"] == {
        "box_clipped": 1,
        "box_empty": 1,
        "box_not_numbers": 1,
        "corners_swapped": 1,
        "entity_unknown": 1,
        "field_missing": 2,
    }


def test_a_box_of_one_pixel_is_a_box(tmp_path: Path, imported: Callable, box_of: Callable) -> None:
    _, [row] = imported("flickr30k", write(tmp_path, [object_xml([1], [5, 6, 5, 6])]))

    assert box_of(row["regions"][0]) == (4, 5, 5, 6)


def test_captions_of_other_images_and_broken_marks_are_refused_and_files_are_paired_by_name(
    tmp_path: Path, imported: Callable, fates: Callable
) -> None:
    sentences = SENTENCE + "[/EN#1/people Two men\n" + SENTENCE + "\n"
    folder = write(tmp_path, [object_xml([1], [1, 1, 5, 5])], sentences)
    write(tmp_path, [object_xml([3], [1, 1, 5, 5])], SENTENCE, name="9")
    (folder / "UNRELATED_CAPTIONS").write_text("# format: <imageID> <sentence number>\n12 3\n")

    report, rows = imported("flickr30k", folder)

    assert [row["key"] for row in rows] == ["9", "12"]
    assert [fates(row)["Two men"] for row in rows] == ["unresolved", "positive"]
    assert report.records["captions"]["codes"] == {"caption_unrelated": 1, "markup_bad": 1}


def test_sentences_without_their_boxes_are_refused_unless_captions_alone_are_checked(
    tmp_path: Path, imported: Callable, picture: Callable
) -> None:
    folder = write(tmp_path, [object_xml([1], [1, 1, 5, 5])])
    write(tmp_path, [], name="13")
    (folder / "Annotations/13.xml").unlink()

    alone, rows = imported("flickr30k", folder, images=None)
    picture("12.jpg")
    report, _ = imported("flickr30k", folder)

    assert len(rows) == 2 and alone.records["captions"]["refused"] == 0
    assert report.records["images"]["codes"] == {"boxes_missing": 1}
    assert report.records["captions"]["codes"] == {"image_refused": 1}


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>',
        "<annotation>",
        "<html></html>",
        "<annotation>" + "x" * 1_000_001 + "</annotation>",
        "<annotation>\udcff</annotation>",
    ],
)
def test_xml_with_a_document_type_or_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.xml").write_bytes(text.encode("utf-8", "surrogateescape"))

    with pytest.raises(RecordError, match="xml_bad"):
        read_xml(tmp_path / "a.xml")


def test_spans_of_marks_are_in_code_points() -> None:
    caption, mentions = parse_sentence("🐕 [/EN#5/animals ein Hund] 🐕 [/EN#6/people  Kinder ] .")

    assert caption == "🐕 ein Hund 🐕  Kinder  ."
    assert [(caption[m.begin : m.end], m.chain) for m in mentions] == [("ein Hund", "5"), ("Kinder", "6")]


def test_sentences_too_long_to_be_read_whole_refuse_their_image_and_never_shorten_it(
    tmp_path: Path, imported: Callable, picture: Callable
) -> None:
    picture("12.jpg")
    write(tmp_path, [object_xml([1], [1, 1, 10, 20])])
    folder = write(tmp_path, [], SENTENCE * 12_000, name="13")
    (folder / "Sentences/14.txt").mkdir()

    report, rows = imported("flickr30k", folder)

    assert len(rows) == 1
    assert report.records["images"] == {
        "in": 3,
        "kept": 1,
        "repaired": 0,
        "refused": 2,
        "codes": {"caption_bad": 2},
    }


def test_a_caption_ends_where_its_line_of_the_file_ends(
    tmp_path: Path, imported: Callable, picture: Callable
) -> None:
    picture("12.jpg")
    folder = write(
        tmp_path, [object_xml([3], [1, 1, 10, 20])], "[/EN#3/animals A dog] on\u2028the\x85road\r\n"
    )

    report, [row] = imported("flickr30k", folder)

    assert report.records["captions"]["in"] == 1 and row["caption"].startswith("A dog on")


def test_a_list_of_unrelated_captions_that_is_no_text_is_refused(tmp_path: Path, imported: Callable) -> None:
    folder = write(tmp_path, [object_xml([1], [1, 1, 10, 20])])
    (folder / "UNRELATED_CAPTIONS").write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigError, match="UNRELATED_CAPTIONS: not UTF-8 text"):
        imported("flickr30k", folder)
