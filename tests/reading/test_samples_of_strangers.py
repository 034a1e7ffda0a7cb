"""Keys, suffixes, captions and fields of untrusted shards, through the real `label` path."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.reading.captions import MAX_CHARS, clean_caption, decode_caption
from engine.reading.shards import open_shard
from engine.settings import InputSettings
from engine.views import write_view
from pipelines.compile.materialize import materialize_webdataset
from pipelines.exchange.export_labels import export_labels
from pipelines.label.run import label
from pipelines.labels.inspect import draw_samples
from pipelines.labels.open_any import open_labels
from schemas.errors import SampleRejectedError
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import job_of, picture, tar_bytes

IMAGE, TEXT = picture(), b"a red patch"


def fates(folder: Path, members: list[tuple[str, bytes]], **section: object) -> list[tuple[str, str]]:
    """Return (key, code or `kept`) of each sample in order."""
    path = folder / "a.tar"
    path.write_bytes(tar_bytes(members))
    shard = open_shard(path, str(path), InputSettings(urls=("x",), **section).reading())
    raws = list(shard.samples(0, len(shard)))
    return [(raw.key, raw.rejected.code if raw.rejected else "kept") for raw in raws]


LAYOUTS: dict[str, tuple[list[str], list[tuple[str, str]]]] = {
    "adjacent, whole samples": (
        ["a.jpg", "a.txt", "a.jpg", "a.txt", "b.jpg", "b.txt"],
        [("a", "DUP_MEMBER"), ("b", "kept")],
    ),
    "adjacent, one suffix in two cases": (["a.jpg", "a.JPG", "a.txt"], [("a", "DUP_MEMBER")]),
    "apart": (
        ["a.jpg", "a.txt", "b.jpg", "b.txt", "a.jpg", "a.txt"],
        [("a", "kept"), ("b", "kept"), ("a", "kept")],
    ),
    "sorted by suffix": (
        ["a.jpg", "b.jpg", "a.txt", "b.txt"],
        [("a", "CAP_MISSING"), ("b", "CAP_MISSING"), ("a", "IMG_MISSING"), ("b", "IMG_MISSING")],
    ),
    "in two folders": (["x/a.jpg", "x/a.txt", "y/a.jpg", "y/a.txt"], [("x/a", "kept"), ("y/a", "kept")]),
    "two kinds of image": (["a.jpg", "a.png", "a.txt"], [("a", "kept")]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_key_that_comes_twice_is_counted_as_its_layout_says(tmp_path: Path, layout: str) -> None:
    names, expected = LAYOUTS[layout]

    assert fates(tmp_path, [(name, TEXT if name.endswith("txt") else IMAGE) for name in names]) == expected


def test_equal_keys_of_two_shards_are_two_samples(tmp_path: Path) -> None:
    for name in ("x.tar", "y.tar"):
        (tmp_path / name).write_bytes(tar_bytes([("a.jpg", IMAGE), ("a.txt", TEXT)]))

    summary = label(job_of(tmp_path, [tmp_path / "x.tar", tmp_path / "y.tar"]), factories=FACTORIES)

    assert summary["samples"]["labelled"] == 2


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.jpg"], [("a", "CAP_MISSING")]),
        (["a.txt"], [("a", "IMG_MISSING")]),
        (["a.json"], [("a", "IMG_MISSING")]),
        (["A.JPG", "A.TXT"], [("A", "kept")]),
        (["a.Jpeg", "a.txt"], [("a", "kept")]),
        (["a.seg.jpg", "a.txt"], [("a", "IMG_MISSING")]),
        (["v1.5.jpg", "v1.5.txt"], [("v1", "IMG_MISSING")]),
        (["README", "a.jpg", "a.txt"], [("README", "IMG_MISSING"), ("a", "kept")]),
        (["a.jpg", ".DS_Store", "a.txt"], [("a", "kept"), (".DS_Store", "IMG_MISSING")]),
        (["a.jpg.gz", "a.txt.gz"], [("a", "IMG_MISSING")]),
        (["a.mp4", "a.txt"], [("a", "IMG_MISSING")]),
        (["a.", "b.jpg", "b.txt"], [("a", "IMG_MISSING"), ("b", "kept")]),
        (["a.b/c", "a.b/d.jpg", "a.b/d.txt"], [("a.b/c", "IMG_MISSING"), ("a.b/d", "kept")]),
    ],
)
def test_names_as_strangers_write_them(
    tmp_path: Path, names: list[str], expected: list[tuple[str, str]]
) -> None:
    assert fates(tmp_path, [(name, TEXT if "txt" in name.lower() else IMAGE) for name in names]) == expected


KEYS = [
    "../../../../tmp/out", "..", "../..", "/etc/passwd", "//host/share/x", "\\\\host\\share", "C:\\windows\\x", "c:/x",
    "~/x", "~root/x", "$HOME/x", "`id`", "$(id)", "; rm -rf x", "| cat", "a b", "a\nb", "a\rb", "a\tb", "a\x1b[31m",
    "a\x01", "a%2e%2e%2f", "%00", "a\u202eb", "a\u2028b", "n" * 10_000, "f/" * 2_000 + "x", "./x", "x/./y", "x//y",
    "x/../y", "nul", "con", "aux", "-rf", "--help", "<script>alert(1)</script>", "'; drop table", "=1+1",
    "\u00ff\u0301",
]  # fmt: skip


def everything_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_no_key_leads_out_of_the_folders_that_a_user_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(KEYS) == 40
    root, other = tmp_path / "a" / "b" / "root", tmp_path / "a" / "b" / "c"
    root.mkdir(parents=True)
    other.mkdir()
    monkeypatch.chdir(other)
    members = [part for key in KEYS for part in ((f"{key}.jpg", IMAGE), (f"{key}.txt", TEXT))]
    (root / "a.tar").write_bytes(tar_bytes(members))
    outside = everything_below(tmp_path) - {f"a/b/root/{name}" for name in everything_below(root)}

    summary = label(job_of(root, [root / "a.tar"]), factories=FACTORIES)
    rows = list(open_labels(str(root / "out")).rows())
    draw_samples(str(root / "out"), root / "pictures", n=99)
    export_labels(str(root / "out"), "coco", root / "coco.json")
    _materialized(rows, root)

    assert summary["samples"]["in"] == summary["samples"]["labelled"] + sum(
        summary["samples"]["rejected"].values()
    )
    assert len(rows) >= 38
    assert everything_below(tmp_path) - {f"a/b/root/{name}" for name in everything_below(root)} == outside
    assert len(list((root / "pictures").glob("*.jpg"))) == len(rows) + 1


def _materialized(rows: list[dict], root: Path) -> None:
    view = [
        {
            **row,
            "phrases": [{**phrase, "fate": "positive"} for phrase in row["phrases"]],
            "regions": [
                {**region, "weight": 1.0, "fate": "positive", "origin": "teacher"}
                for region in row["regions"]
            ],
        }
        for row in rows
    ]
    write_view(str(root / "view"), view, kind="view", provenance={})
    materialize_webdataset(str(root / "view"), str(root / "tars"))


def test_file_names_of_an_export_stay_below_the_folder_that_they_are_joined_to(tmp_path: Path) -> None:
    members = [
        part for key in [*KEYS, "plain", "f/plain"] for part in ((f"{key}.jpg", IMAGE), (f"{key}.txt", TEXT))
    ]
    (tmp_path / "a.tar").write_bytes(tar_bytes(members))
    label(job_of(tmp_path, [tmp_path / "a.tar"]), factories=FACTORIES)
    export_labels(str(tmp_path / "out"), "coco", tmp_path / "coco.json")

    names = [image["file_name"] for image in json.loads((tmp_path / "coco.json").read_text())["images"]]

    for name in names:
        assert os.path.normpath(os.path.join("/root", name)).startswith("/root/a.tar/"), name
        assert not any(ord(char) < 32 for char in name) and "\\" not in name
    assert names[-2:] == ["a.tar/plain", "a.tar/f/plain"] and len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ('{"caption": "a red patch"}', "kept"),
        ('{"caption": "a \\ud800 patch"}', "CAP_UTF8"),
        ('{"caption": "a \\ud83d\\ude00 patch"}', "kept"),
        ('{"caption": 5}', "CAP_MISSING"),
        ('{"caption": null}', "CAP_MISSING"),
        ('{"caption": ["a"]}', "CAP_MISSING"),
        ("{}", "CAP_MISSING"),
        ('{"caption": ""}', "CAP_EMPTY"),
        ('{"caption": "a", "caption": "b"}', "JSON_BAD"),
        ('{"caption": "a", "x": NaN}', "JSON_BAD"),
        ('{"caption": "a", "x": 1e999}', "kept"),
        ('{"caption": "a", "keep": 1e999}', "JSON_BAD"),
        ('{"caption": "a", "keep": "\\ud800"}', "JSON_BAD"),
        ('{"caption": "a", "x": ' + "9" * 5_000 + "}", "JSON_BAD"),
        ('{"caption": "a", "x": ' + "[" * 40 + "]" * 40 + "}", "JSON_BAD"),
        ('{"caption": "a", "x": "' + "y" * 1_000_000 + '"}', "JSON_BAD"),
        ('\ufeff{"caption": "a"}', "JSON_BAD"),
        ('["caption"]', "JSON_BAD"),
        ("caption: a", "JSON_BAD"),
    ],
)
def test_the_json_beside_an_image_is_strict(tmp_path: Path, field: str, code: str) -> None:
    members = [("a.jpg", IMAGE), ("a.json", field.encode())]

    assert fates(tmp_path, members, caption="json:caption", keep=("keep",)) == [("a", code)]


def test_a_lone_surrogate_would_kill_the_whole_batch_if_it_were_let_in() -> None:
    with pytest.raises(UnicodeEncodeError):
        pa.array(["a \ud800 patch"], pa.string())


@pytest.mark.parametrize("make", [decode_caption, lambda data: clean_caption(data.decode())])
def test_a_caption_of_ten_megabytes_is_refused_by_its_size(make: object) -> None:
    with pytest.raises(SampleRejectedError, match="CAP_LONG"):
        make(b"a cat " * 1_700_000)


def test_the_longest_caption_that_is_read_is_cut_to_two_thousand_characters() -> None:
    stored = decode_caption(b"a cat " * 10_922)

    assert len(stored.text) <= MAX_CHARS and stored.cut_from == 65_532


ODD_WORDS = ["İstanbul", "ﬁsh", "e\u0301", "👩‍👩‍👧", "\u202eabc", "שלום", "\x00", "\u2028", "a red patch"]
WORDS = st.lists(
    st.one_of(st.text(st.characters(codec="utf-8"), max_size=12), st.sampled_from(ODD_WORDS)), max_size=8
)


@settings(max_examples=200)
@given(WORDS)
def test_offsets_into_the_stored_caption_are_offsets_into_the_given_one(parts: list[str]) -> None:
    check_offsets(parts)


@pytest.mark.slow
@settings(max_examples=5_000)
@given(WORDS)
def test_offsets_stay_in_five_thousand_captions(parts: list[str]) -> None:
    check_offsets(parts)


def check_offsets(parts: list[str]) -> None:
    given_text = " ".join([*parts, "a red patch"])

    stored = decode_caption(given_text.encode()).text

    begin = given_text.rindex("a red patch")
    assert stored[begin : begin + 11] == "a red patch" and len(stored) == len(given_text)
    place = 0
    for part in parts:
        printable = "".join(
            " " if char != kept else char for char, kept in zip(part, stored[place:], strict=False)
        )
        assert stored[place : place + len(part)] == printable
        place += len(part) + 1


def test_captions_of_every_kind_keep_their_spans_in_the_evidence(tmp_path: Path) -> None:
    captions = [
        "İİ the red patch",
        "👩‍👩‍👧\u0301 a blue patch",
        "\u202eשלום the green",
        "a\x00red patch a red one",
        "ﬁ\ufeff a red",
    ]
    pq.write_table(pa.table({"jpg": [IMAGE] * 5, "caption": captions}), tmp_path / "a.parquet")
    label(job_of(tmp_path, [tmp_path / "a.parquet"], input={"format": "parquet"}), factories=FACTORIES)

    rows = list(open_labels(str(tmp_path / "out")).rows())

    spans = [(row["caption"][p["begin"] : p["end"]], p["text"]) for row in rows for p in row["phrases"]]
    assert len(rows) == 5 and len(spans) >= 5 and all(cut == text for cut, text in spans)
    assert [len(row["caption"]) for row in rows] == list(map(len, captions))


def test_a_parquet_row_is_rejected_alone_whatever_its_caption(tmp_path: Path) -> None:
    captions = [b"a red patch", b"\xff\xfe", b"\xed\xa0\x80", None, b"", b"a" * 70_000, b"the red patch"]
    columns = {"jpg": [IMAGE] * 7, "caption": pa.array(captions, pa.binary()).view(pa.string())}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")

    summary = label(
        job_of(tmp_path, [tmp_path / "a.parquet"], input={"format": "parquet"}), factories=FACTORIES
    )

    expected = Counter(CAP_UTF8=2, CAP_MISSING=1, CAP_EMPTY=1, CAP_LONG=1)
    assert summary["samples"] == {"in": 7, "labelled": 2, "empty": 0, "rejected": dict(expected)}
