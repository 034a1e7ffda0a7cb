"""Folders of images as shards: which files are samples, which captions they get, and what is never read."""

from __future__ import annotations

import logging
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.ledger.fingerprint import reading_digest
from engine.reading.folders.caption_table import read_table
from engine.reading.folders.listing import find_root, list_folder, read_file
from engine.reading.folders.shard import FolderShard
from engine.reading.raw_samples import RawSample
from engine.reading.shard_sources import FolderSource
from engine.reading.shards import MAX_MEMBER_BYTES
from engine.settings import InputSettings, StorageSettings
from schemas.errors import ConfigError, NotFoundError, ShardDamagedError
from tests.engine.s3_server import s3_bucket
from tests.engine.worlds import picture
from tests.mutations import Mutation

IMAGE, TEXT = picture(), b"a red patch"
LISTING, SHARD = "engine/reading/folders/listing.py", "engine/reading/folders/shard.py"
TABLE, DISCOVERY = "engine/reading/folders/caption_table.py", "engine/reading/folders/discovery.py"
CHANGED = "test_a_file_that_is_not_the_listed_one"
MUTATIONS = (
    Mutation(LISTING, "leaves = is_link and not _is_inside(real, real_root)", "leaves = False", "test_a_link_out"),
    Mutation(LISTING, "if not _is_inside(real_folder, real_root):", "if False:", "test_a_linked_folder_outside"),
    Mutation(LISTING, "elif not is_link:\n", "else:\n", "test_a_linked_folder_inside"),
    Mutation(LISTING, "else None if stat.S_ISREG(status.st_mode) else NO_FILE", "else None", "test_a_pipe"),
    Mutation(LISTING, " | os.O_NONBLOCK", "", CHANGED),
    Mutation(LISTING, " | os.O_NOFOLLOW", "", CHANGED),
    Mutation(LISTING, "now != (file.size_bytes, file.version)", "now[0] != file.size_bytes", CHANGED),
    Mutation(LISTING, 'if not entry.name.startswith("."):', "if True:", "test_names_of_images"),
    Mutation(LISTING, '"StorageClass") == "DIRECTORY"', '"StorageClass") == ""', "test_a_bucket_is_read_as_a_disk"),
    Mutation(SHARD, "if not is_url_name(sample.name):", "if False:", "test_a_name_that_no_url_can_have"),
    Mutation(DISCOVERY, "if not is_url_name(name):", "if False:", "test_a_folder_name_that_no_url_can_have"),
    Mutation(SHARD, "if image.size_bytes > MAX_MEMBER_BYTES:", "if False:", "test_a_huge_image_is_not_read"),
    Mutation(SHARD, "if file.size_bytes > max_bytes:", "if False:", "test_a_huge_image_is_not_read"),
    Mutation(SHARD, "if len(sample.texts) > 1:", "if False:", "test_names_of_images"),
    Mutation(SHARD, "if len(sample.rows) > 1:", "if False:", "test_rows_of_a_table"),
    Mutation(SHARD, ".removeprefix(_BOM).rstrip", ".rstrip", "test_a_text_file_as_an_editor"),
    Mutation(SHARD, "image.problem is not None:", "False:", "test_a_link_out"),
    Mutation(SHARD, "suffix_of(file.name) == reading.caption\n", "False\n", "test_each_file_that_is_read"),
    Mutation(SHARD, "return [escape_name(sample.name), image, texts]", "return [image, texts]", "test_names_and_bytes"),
    Mutation(SHARD, '{"table": self._table_sha256, ', "{", "test_names_and_bytes"),
    Mutation(TABLE, "if len(cells) != len(columns):", "if False:", "test_rows_of_a_table"),
    Mutation(TABLE, "strict=True)\n    try", "strict=False)\n    try", "test_a_table_that_cannot_be_read"),
    Mutation(TABLE, 'unicodedata.normalize("NFC", name.removeprefix("./"))', "name", "test_rows_of_a_table"),
    Mutation(DISCOVERY, "search.report_left_out()", "pass", "test_images_of_other_suffixes"),
    Mutation(DISCOVERY, "or _is_folder(url, storage)", "", "test_folders_are_found"),
)  # fmt: skip


def source_of(*urls: Path | str, **section: Any) -> FolderSource:
    return FolderSource(InputSettings(format="folder", urls=tuple(map(str, urls)), **section))


def open_folder(folder: Path | str, root: Path | str | None = None, **section: Any) -> FolderShard:
    source = source_of(root or folder, **section)
    shard = source.fetch(source.stat(str(folder))).open()
    assert isinstance(shard, FolderShard)
    return shard


def read_all(folder: Path | str, root: Path | str | None = None, **section: Any) -> list[RawSample]:
    shard = open_folder(folder, root, **section)
    return list(shard.samples(0, len(shard)))


def fate(raw: RawSample) -> str:
    return raw.rejected.code if raw.rejected else raw.caption


def fates(folder: Path | str, root: Path | str | None = None, **section: Any) -> list[tuple[str, str]]:
    """Return (key, code or caption) of each sample in order."""
    return [(raw.key, fate(raw)) for raw in read_all(folder, root, **section)]


def write(folder: Path, *names: str, **contents: bytes) -> Path:
    """Write images and texts by their suffix. `contents` have a double underscore for the dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(TEXT if name.lower().endswith(("txt", "caption")) else IMAGE)
    for name, data in contents.items():
        (folder / name.replace("__", ".")).write_bytes(data)
    return folder


KEPT = TEXT.decode()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.jpg", "a.txt"], [("a.jpg", KEPT)]),
        (["b.jpg", "b.txt", "B.jpg", "B.txt", "a.png", "a.txt"], [("B.jpg", KEPT), ("a.png", KEPT), ("b.jpg", KEPT)]),
        (["a.JPG", "a.TXT"], [("a.JPG", KEPT)]),
        (["A.jpg", "a.txt"], [("A.jpg", "CAP_MISSING"), ("a.txt", "IMG_MISSING")]),
        (["a.jpg", "a.png", "a.txt"], [("a.jpg", KEPT), ("a.png", KEPT)]),
        (["a.jpg", "a.JPG", "a.txt"], [("a.JPG", KEPT), ("a.jpg", KEPT)]),
        (["a.jpg", "a.txt", "a.TXT"], [("a.jpg", "DUP_MEMBER")]),
        (["v1.5.jpg", "v1.5.txt"], [("v1.5.jpg", KEPT)]),
        (["a.jpg"], [("a.jpg", "CAP_MISSING")]),
        (["a.jpg", "a.txt", "readme.txt"], [("a.jpg", KEPT), ("readme.txt", "IMG_MISSING")]),
        (["a.jpg", "a.txt", ".b.jpg", "._a.jpg", ".txt"], [("a.jpg", KEPT)]),
        (["a.jpg", "a.txt", "b.mp4", "jpg", "Thumbs.db"], [("a.jpg", KEPT)]),
        (["x y%20.png", "x y%20.txt", "猫 🐶.png", "猫 🐶.txt"], [("x y%20.png", KEPT), ("猫 🐶.png", KEPT)]),
        (["what? #1.png", "what? #1.txt", "[a]*.png", "[a]*.txt"], [("[a]*.png", KEPT), ("what? #1.png", KEPT)]),
    ],
)  # fmt: skip
def test_names_of_images_and_captions_as_people_write_them(
    tmp_path: Path, names: list[str], expected: list[tuple[str, str]]
) -> None:
    assert fates(write(tmp_path / "web", *names)) == expected


def test_pixels_name_the_image_file_and_the_bytes_are_its_bytes(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "a b%20", "x.png", "x.txt", "y.png", y__txt=b"", z__jpg=picture("blue"), z__txt=TEXT
    )
    shard = open_folder(folder)

    kept = [raw for raw in shard.samples(0, 9) if raw.rejected is None]

    assert [raw.pixels.model_dump(exclude_none=True) for raw in kept if raw.pixels] == [
        {"url": f"{folder}/x.png"}, {"url": f"{folder}/z.jpg"}
    ]  # fmt: skip
    assert list(shard.images(kept)) == [IMAGE, picture("blue")]
    assert [raw.index for raw in shard.samples(1, 1)] == [1] and list(shard.samples(3, 5)) == []


@pytest.mark.parametrize("name", ["new\nline.png", "a::b.png", "bell\x07.png", os.fsdecode(b"latin\xe9.png")])
def test_a_name_that_no_url_can_have_rejects_its_image_alone(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "web", "a.png", "a.txt", name, name.replace("png", "txt"))

    found = dict(fates(folder))

    assert found.pop("a.png") == KEPT and list(found.values()) == ["KEY_BAD"]
    next(iter(found)).encode()  # it can be stored


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\xef\xbb\xbfa red patch\r\n", KEPT),
        (b"a red patch\n", KEPT),
        (b"\ta\nb", " a b"),
        (b"", "CAP_EMPTY"),
        (b"?!", "CAP_EMPTY"),
        (b"caf\xe9", "CAP_UTF8"),
        ("a red patch".encode("utf-16"), "CAP_UTF8"),
        (b"a " * 40_000, "CAP_LONG"),
    ],
)
def test_a_text_file_as_an_editor_saves_it(tmp_path: Path, data: bytes, expected: str) -> None:
    assert fates(write(tmp_path, "a.png", a__txt=data)) == [("a.png", expected)]


def test_captions_may_have_another_suffix(tmp_path: Path) -> None:
    folder = write(tmp_path, "a.png", "a.txt", a__Caption=b"two dogs")

    assert fates(folder, caption=".caption") == [("a.png", "two dogs")]


def test_given_phrases_are_the_caption_of_every_image(tmp_path: Path) -> None:
    folder = write(tmp_path, "a.png", a__txt=b"\xff", b__jpg=IMAGE, c__txt=TEXT)

    raws = read_all(folder, phrases=("dog", "red car"))

    assert [(raw.key, raw.caption, raw.spans) for raw in raws] == [
        ("a.png", "dog. red car", ((0, 3), (5, 12))),
        ("b.jpg", "dog. red car", ((0, 3), (5, 12))),
    ]


# ---- tables of captions

CSV = b"file_name,caption,license\na.png,a red patch,MIT\nb.png,two dogs,\n"
JSONL = b"""{"file_name": "a.png", "caption": "a red patch", "at": [[2, 5]]}

{"file_name": "b.png", "caption": "two dogs"}"""


@pytest.mark.parametrize(
    ("name", "data", "section"),
    [
        ("t.csv", CSV, {}),
        ("T.CSV", CSV, {}),
        ("t.csv", b"\xef\xbb\xbf" + CSV.replace(b"\n", b"\r\n"), {}),
        ("t.tsv", CSV.replace(b",", b"\t"), {}),
        ("t.csv", CSV.replace(b"file_name", b"image"), {"file_name": "image"}),
        ("t.csv", CSV.replace(b"caption", b"text"), {"caption": "text"}),
        ("t.csv", CSV.replace(b",caption", b",txt"), {}),
        ("t.csv", CSV.replace(b"a.png", b"./a.png"), {}),
        ("t.jsonl", JSONL, {}),
        ("t.jsonl", b"\xef\xbb\xbf" + JSONL, {}),
    ],
)
def test_captions_come_from_a_table(tmp_path: Path, name: str, data: bytes, section: dict[str, Any]) -> None:
    folder = write(tmp_path, "a.png", "b.png", a__txt=b"not this")
    (folder / name).write_bytes(data)

    assert fates(folder, captions=name, **section) == [("a.png", KEPT), ("b.png", "two dogs")]


def test_rows_of_a_table_that_cannot_be_used_reject_their_image_and_are_counted(tmp_path: Path) -> None:
    accent = "café.png"
    write(tmp_path, "a.png", "b.png", "c.png", "d.png", "e.png", unicodedata.normalize("NFD", accent))
    rows = [
        "file_name,caption",
        "a.png,a dog, running",
        "b.png",
        "c.png,one",
        "c.png,two",
        "gone.png,a dog",
        ",x",
    ]
    (tmp_path / "t.csv").write_text("\n".join([*rows, "e.png,", f"{accent},ok"]))

    found = fates(tmp_path, captions="t.csv")

    assert found == [
        ("a.png", "ROW_BAD"),
        ("b.png", "ROW_BAD"),
        ("c.png", "DUP_MEMBER"),
        (unicodedata.normalize("NFD", accent), "ok"),
        ("d.png", "CAP_MISSING"),
        ("e.png", "CAP_EMPTY"),
        ("gone.png", "IMG_MISSING"),
        ("t.csv:7", "ROW_BAD"),
    ]


def test_lines_that_are_not_json_are_counted(tmp_path: Path) -> None:
    lines = [
        JSONL.split(b"\n")[0],
        b"{",
        b"[1]",
        b'{"caption": "x"}',
        b'{"file_name": 3}',
        b'{"file_name": "b.png"}',
    ]
    write(tmp_path, "a.png", "b.png", t__jsonl=b"\n".join(lines))

    found = fates(tmp_path, captions="t.jsonl", spans="at")

    assert found == [
        ("a.png", KEPT),
        ("b.png", "CAP_MISSING"),
        ("t.jsonl:2", "JSON_BAD"),
        ("t.jsonl:3", "JSON_BAD"),
        ("t.jsonl:4", "ROW_BAD"),
        ("t.jsonl:5", "ROW_BAD"),
    ]


def test_columns_are_kept_and_spans_are_read(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "b.png", t__jsonl=JSONL, t__csv=CSV)

    first, second = read_all(tmp_path, captions="t.jsonl", spans="at", keep=("caption", "none"))
    by_csv = read_all(tmp_path, captions="t.csv")

    assert (first.spans, first.meta) == (((2, 5),), {"caption": KEPT})
    assert fate(second) == "SPANS_BAD" and by_csv[0].source.license == "MIT"


def test_a_folder_without_its_table_has_no_captions(tmp_path: Path) -> None:
    assert fates(write(tmp_path, "a.png", "a.txt"), captions="t.csv") == [("a.png", "CAP_MISSING")]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "SHARD_SCHEMA.*no column 'caption'"),
        (b"file_name,text\n", "SHARD_SCHEMA.*no column 'caption' for input.caption"),
        (b"name,caption\n", "SHARD_SCHEMA.*no column 'file_name' for input.file_name"),
        (b"file_name,caption,caption\n", "SHARD_SCHEMA.*two columns"),
        (b"file_name,caption\na.png,caf\xe9\n", "SHARD_FORMAT.*not UTF-8"),
        (b'file_name,caption\na.png,"no end\nb.png,x\n', "SHARD_FORMAT.*line 3.*quote"),
        (b"file_name,caption\na.png," + b"x" * 200_000, "SHARD_FORMAT.*field larger"),
    ],
)
def test_a_table_that_cannot_be_read_stops_its_folder(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(ShardDamagedError, match=words):
        read_all(write(tmp_path, "a.png", t__csv=data), captions="t.csv")


@given(st.binary(max_size=300), st.sampled_from(["t.csv", "t.tsv", "t.jsonl"]))
def test_any_bytes_are_a_table_or_a_damaged_shard(data: bytes, name: str) -> None:
    reading = InputSettings(format="folder", urls=("x",), captions=name).reading()
    for content in (data, b"file_name,caption\n" + data, b"file_name\tcaption\n" + data):
        try:
            table = read_table(content, name, "x", reading)
        except ShardDamagedError as damage:
            assert damage.code.startswith("SHARD_")
        else:
            assert all(row.rejected is not None for row in table.nameless)


# ---- links, pipes and files that change


def test_a_link_out_of_the_input_is_refused_and_one_inside_is_read(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret", "s.png", s__txt=b"a secret")
    folder = write(tmp_path / "web", "a.png", "b.png", "c.png", "c.txt", "d.png", "d.txt")
    (folder / "a.txt").symlink_to(secret / "s.txt")
    (folder / "b.txt").symlink_to("none.txt")
    (folder / "e.png").symlink_to("../secret/s.png")
    (folder / "e.txt").symlink_to("c.txt")
    (folder / "f.png").symlink_to("d.png")
    (folder / "f.txt").symlink_to("d.txt")

    shard = open_folder(folder)
    found = fates(folder)

    assert found == [
        ("a.png", "CAP_MISSING"),
        ("b.png", "CAP_MISSING"),
        ("c.png", KEPT),
        ("d.png", KEPT),
        ("e.png", "IMG_MISSING"),
        ("f.png", KEPT),
    ]
    (kept,) = shard.samples(5, 1)
    assert list(shard.images([kept])) == [IMAGE] and kept.pixels and kept.pixels.url == f"{folder}/f.png"
    assert dict(fates(folder, tmp_path))["e.png"] == KEPT  # the folder above is the input, so it is inside
    before, with_above = source_of(folder).stat(str(folder)), source_of(tmp_path).stat(str(folder))
    assert before.version != with_above.version


def test_a_table_that_is_a_link_out_of_the_input_stops_its_folder(tmp_path: Path) -> None:
    write(tmp_path / "secret", t__csv=CSV)
    folder = write(tmp_path / "web", "a.png")
    (folder / "t.csv").symlink_to("../secret/t.csv")

    with pytest.raises(ShardDamagedError, match="SHARD_FORMAT.*a link out of the input folder"):
        read_all(folder, captions="t.csv")


def test_a_linked_folder_outside_is_a_shard_that_cannot_be_read(tmp_path: Path) -> None:
    write(tmp_path / "secret", "s.png", "s.txt")
    folder = write(tmp_path / "web", "a.png", "a.txt")
    (folder / "out").symlink_to(tmp_path / "secret")
    source = source_of(folder)

    assert source.list_urls() == [str(folder), f"{folder}/out"]
    with pytest.raises(ShardDamagedError, match="SHARD_FORMAT.*name that folder in input.urls"):
        source.stat(f"{folder}/out")


def test_a_linked_folder_inside_is_found_once_and_a_circle_ends(tmp_path: Path) -> None:
    folder = write(tmp_path / "web", "a.png")
    write(folder / "one", "a.png")
    (folder / "two").symlink_to("one")
    (folder / "one" / "round").symlink_to("..")

    assert source_of(folder).list_urls() == [str(folder), f"{folder}/one"]


def test_the_named_folder_may_be_a_link_itself(tmp_path: Path) -> None:
    write(tmp_path / "disk", "a.png", "a.txt")
    (tmp_path / "web").symlink_to("disk")

    assert fates(tmp_path / "web") == [("a.png", KEPT)]


def test_a_pipe_is_never_opened(tmp_path: Path) -> None:
    folder = write(tmp_path, "a.png", "b.png", "b.txt")
    os.mkfifo(folder / "a.txt")
    os.mkfifo(folder / "c.png")

    assert fates(folder) == [("a.png", "CAP_MISSING"), ("b.png", KEPT), ("c.png", "IMG_MISSING")]
    assert len(open_folder(folder).sha256()) == 64


def replace_by_link(path: Path) -> None:
    status = path.stat()
    other = path.parent.parent / "other"
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    path.unlink()
    path.symlink_to(other)


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replace_bytes(path: Path) -> None:
    status = path.stat()
    path.write_bytes(bytes(reversed(path.read_bytes())))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


CHANGES = {
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "other bytes": replace_bytes,
    "gone": lambda path: path.unlink(),
    "link": replace_by_link,
    "pipe": replace_by_pipe,
    "folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_is_not_the_listed_one_is_never_read(tmp_path: Path, change: str) -> None:
    folder = write(tmp_path / "web", "a.png")
    listing = list_folder(str(folder), str(folder))
    CHANGES[change](folder / "a.png")

    with pytest.raises(ShardDamagedError, match="INPUT_CHANGED"):
        read_file(listing.files[0])


def test_a_huge_image_is_not_read(tmp_path: Path) -> None:
    folder = write(tmp_path, "a.png", "a.txt", "a.webp")
    with open(folder / "a.png", "wb") as file:
        file.truncate(MAX_MEMBER_BYTES + 1)
    with open(folder / "a.txt", "wb") as file:
        file.truncate(2**40)

    assert fates(folder) == [("a.png", "MEMBER_LARGE"), ("a.webp", "CAP_LONG")]
    with open(folder / "a.png", "wb") as file:
        file.truncate(2**42)
    assert len(open_folder(folder).sha256()) == 64


# ---- versions and digests


def test_each_file_that_is_read_changes_the_version_and_no_other(tmp_path: Path) -> None:
    folder = write(tmp_path, "a.png", "a.txt", "notes.md", t__csv=CSV)
    write(folder / "below", "x.png")
    source = source_of(folder)
    first = source.stat(str(folder))

    for name in ("notes.md", "t.csv", "below/x.png"):
        os.utime(folder / name, ns=(1, 1))
    assert source.stat(str(folder)) == first and first.size_bytes == len(IMAGE) + len(TEXT)
    for name in ("a.png", "a.txt"):
        os.utime(folder / name, ns=(1, 1))
        changed = source.stat(str(folder))
        assert changed != first
        with pytest.raises(ShardDamagedError, match="INPUT_CHANGED"):
            source.fetch(first)
        with pytest.raises(ShardDamagedError, match="INPUT_CHANGED"):
            source.confirm(first)
        first = changed
    with_table = source_of(folder, captions="t.csv")
    before = with_table.stat(str(folder))
    os.utime(folder / "t.csv", ns=(2, 2))
    assert with_table.stat(str(folder)) != before


def test_names_and_bytes_of_what_is_read_decide_the_digest_and_nothing_else(tmp_path: Path) -> None:
    folder = write(tmp_path / "web", "a.png", "a.txt", "notes.md", t__csv=CSV)
    first = open_folder(folder).sha256()
    copy = write(tmp_path / "copy", "a.png", "a.txt")
    os.utime(copy / "a.png", ns=(1, 1))
    assert open_folder(copy).sha256() == first

    seen = {first, open_folder(folder, captions="t.csv").sha256()}
    (folder / "t.csv").write_bytes(CSV + b"c.png,x\n")
    seen.add(open_folder(folder, captions="t.csv").sha256())
    (folder / "t.csv").write_bytes(CSV + b'c.png,"x"\n')
    seen.add(open_folder(folder, captions="t.csv").sha256())
    (copy / "a.txt").write_bytes(TEXT + b" ")
    seen.add(open_folder(copy).sha256())
    (copy / "a.png").write_bytes(picture("blue"))
    seen.add(open_folder(copy).sha256())
    for name in ("a.png", "a.txt"):
        (copy / name).rename(copy / name.replace("a", "b"))
    seen.add(open_folder(copy).sha256())
    seen.add(open_folder(write(copy, "c.png")).sha256())

    assert len(seen) == 8


def test_new_settings_change_a_digest_only_where_they_are_used() -> None:
    before = "sha256:d01be1d6d13da9fdb8f8ca03e6f092663b43aa7e34656ff4d43dc8ef1a0129ce"
    assert reading_digest(InputSettings(urls=("x",))) == before
    digests = {
        reading_digest(InputSettings(format="folder", urls=("x",), **section))
        for section in (
            {},
            {"captions": "t.csv"},
            {"captions": "t.csv", "file_name": "n"},
            {"phrases": ("dog",)},
        )
    }
    assert len(digests) == 4
    given = [{"phrases": ("dog",), "caption": caption} for caption in ("txt", "caption")]
    assert len({reading_digest(InputSettings(format="folder", urls=("x",), **one)) for one in given}) == 1


# ---- which folders


def test_folders_are_found_below_the_named_ones_in_order(tmp_path: Path) -> None:
    for name in ("web", "web/b/c", "web/a [2020]", "web/.hidden", "web2", "empty/deep"):
        write(tmp_path / name, "x.png")
    write(tmp_path / "web" / "texts", "x.txt")
    (tmp_path / "list.txt").write_text(f"{tmp_path}/web2\n")
    below = [f"{tmp_path}/web", f"{tmp_path}/web/a [2020]", f"{tmp_path}/web/b/c"]

    def urls(*names: str) -> list[str]:
        return source_of(*(f"{tmp_path}/{name}" for name in names)).list_urls()

    assert urls("web") == urls("web/", "web/b") == below
    assert urls("web", "web2") == urls("web*") == urls("{web,web2}") == [*below, f"{tmp_path}/web2"]
    assert urls("empty") == [f"{tmp_path}/empty/deep"]
    assert urls("web/a [2020]") == [below[1]]
    assert source_of(f"@{tmp_path}/list.txt").list_urls() == [f"{tmp_path}/web2"]


def test_a_place_without_images_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path / "texts", "a.txt", "a.gif")
    for url, words in (
        ("texts", "no image below .*set input.image"),
        ("none", "does not exist"),
        ("x*", "no folder matches"),
    ):
        with pytest.raises(NotFoundError, match=words):
            source_of(tmp_path / url).list_urls()
    with pytest.raises(NotFoundError, match="is a file, expected a folder"):
        source_of(tmp_path / "texts" / "a.txt").list_urls()
    write(tmp_path / "what?", "a.png")
    with pytest.raises(ConfigError, match="must not contain"):
        source_of(tmp_path).list_urls()


@pytest.mark.parametrize("name", ["new\nline", "a::b", os.fsdecode(b"latin\xe9")])
def test_a_folder_name_that_no_url_can_have_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, "a.png")
    with pytest.raises(ConfigError, match="in its name; rename it"):
        source_of(tmp_path).list_urls()


def test_images_of_other_suffixes_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write(tmp_path, "a.png", "b.HEIC", "c.gif", "d.gif")
    with caplog.at_level(logging.WARNING):
        source_of(folder).list_urls()
    assert "3 image files are left out" in caplog.text and ".gif, .heic" in caplog.text
    caplog.clear()
    source_of(folder, image=("png", "gif", ".HEIC")).list_urls()
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("url", "patterns", "root"),
    [
        ("/d/web/a", ("/d/web",), "/d/web"),
        ("/d/web/a", ("/d/web/a", "/d/web"), "/d/web"),
        ("/d/website", ("/d/web",), "/d/website"),
        ("/d/web/a", ("/d/w*",), "/d"),
        ("/d/a [1]/b", ("/d/a [1]",), "/d"),
        ("/d/x", ("@/d/list.txt",), "/d/x"),
        ("s3://b/web/a", ("s3://b/web/{a,b}",), "s3://b/web"),
    ],
)
def test_the_root_of_a_folder_is_the_outermost_named_one(
    url: str, patterns: tuple[str, ...], root: str
) -> None:
    assert find_root(url, patterns) == root


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"format": "webdataset", "captions": "t.csv"}, "input.captions.*needs input.format: folder"),
        ({"format": "parquet", "phrases": ("dog",)}, "input.phrases.*needs input.format: folder"),
        ({"captions": "sub/t.csv"}, "not a path"),
        ({"captions": "t.parquet"}, ".csv, .tsv, .jsonl"),
        ({"captions": ".t.csv"}, "not a path"),
        ({"file_name": "name"}, "a column of input.captions"),
        ({"caption": "json:x"}, "suffix of text files"),
        ({"keep": ("url",)}, "columns of input.captions"),
        ({"spans": "at"}, "a .jsonl file"),
        ({"captions": "t.csv", "spans": "at"}, "a .jsonl file"),
        ({"captions": "t.csv", "phrases": ("dog",), "keep": ("url",)}, "columns of input.captions"),
    ],
)
def test_settings_that_do_not_fit_are_refused(section: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        InputSettings.model_validate({"format": "folder", "urls": ("x",), **section})


# ---- buckets


@pytest.fixture(scope="module")
def bucket():
    with s3_bucket() as made:
        yield made


def upload(bucket: tuple[str, StorageSettings], folder: Path) -> str:
    from engine.storage.filesystems import open_filesystem

    filesystem, path = open_filesystem(f"{bucket[0]}/{folder.name}", bucket[1])
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            filesystem.pipe_file(f"{path}/{file.relative_to(folder)}", file.read_bytes())
    filesystem.pipe_file(f"{path}/", b"")  # the empty object by which some tools mark a folder
    return f"{bucket[0]}/{folder.name}"


def test_a_bucket_is_read_as_a_disk_is(tmp_path: Path, bucket: tuple[str, StorageSettings]) -> None:
    from engine.storage.filesystems import open_filesystem

    folder = write(
        tmp_path / "web", "x y%20.png", "x y%20.txt", "a.jpg", "q?#.png", "q?#.txt", ".h.png", e__png=b""
    )
    write(folder / "c", "1.png", "1.txt")
    url = upload(bucket, folder)
    source, here = source_of(url, storage=bucket[1]), source_of(folder)

    assert source.list_urls() == [url, f"{url}/c"]
    for below in ("", "/c"):
        far, near = open_folder(url + below, url, storage=bucket[1]), open_folder(f"{folder}{below}", folder)
        assert fates(url + below, url, storage=bucket[1]) == fates(f"{folder}{below}", folder)
        assert far.sha256() == near.sha256()
        kept = [raw for raw in far.samples(0, 9) if raw.rejected is None]
        assert list(far.images(kept)) == [IMAGE] * len(kept)
        assert all(raw.pixels and raw.pixels.url == f"{url}{below}/{raw.key}" for raw in kept)
    assert source.stat(url).size_bytes == here.stat(str(folder)).size_bytes
    for wrong, words in ((f"{bucket[0]}/none", "does not exist"), (f"{url}/a.jpg", "is a file")):
        with pytest.raises(NotFoundError, match=words):
            source_of(wrong, storage=bucket[1]).list_urls()

    before = source.stat(url)
    filesystem, path = open_filesystem(url, bucket[1])
    filesystem.pipe_file(f"{path}/a.jpg", bytes(reversed(IMAGE)))
    with pytest.raises(ShardDamagedError, match="INPUT_CHANGED"):
        source.confirm(before)
    filesystem.pipe_file(f"{path}/c//w.png", IMAGE)
    with pytest.raises(ConfigError, match="'//' in their names"):
        source.list_urls()


def test_an_object_that_shrank_grew_or_went_is_no_image(
    tmp_path: Path, bucket: tuple[str, StorageSettings]
) -> None:
    from engine.storage.filesystems import open_filesystem

    url = upload(bucket, write(tmp_path / "changing", "a.png"))
    (listed,) = list_folder(url, url, bucket[1]).files
    filesystem, path = open_filesystem(url, bucket[1])

    for data in (IMAGE + b"x", IMAGE[:-1], None):
        filesystem.pipe_file(f"{path}/a.png", data) if data else filesystem.rm_file(f"{path}/a.png")
        with pytest.raises(ShardDamagedError, match="INPUT_CHANGED"):
            read_file(listed, bucket[1])
