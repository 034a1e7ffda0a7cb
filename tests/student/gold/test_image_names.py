"""Names of images as other tools write them: what they mean below a folder, and which are refused."""

from __future__ import annotations

import pytest

from student.gold.account import RecordError
from student.gold.images.names import FileNames, SampleNames, parse_name


@pytest.mark.parametrize(
    ("text", "parts", "is_foreign"),
    [
        ("1.jpg", "1.jpg", False),
        ("./a//1.jpg", "a/1.jpg", False),
        ("a\\1.jpg", "a/1.jpg", False),
        ("C:\\data\\1.jpg", "data/1.jpg", True),
        ("c:/data/1.jpg", "data/1.jpg", True),
        ("C:1.jpg", "1.jpg", True),
        ("\\\\server\\share\\1.jpg", "server/share/1.jpg", True),
        ("/home/someone/1.jpg", "home/someone/1.jpg", True),
        ("file:///home/a%20b/1.jpg", "home/a b/1.jpg", True),
        ("file:///C:/data/1.jpg", "data/1.jpg", True),
        ("https://host/a/1.jpg?w=3&x=a/b.jpg#top", "host/a/1.jpg", True),
        ("s3://bucket/a/1.jpg", "bucket/a/1.jpg", True),
        ("12:30.jpg", "12:30.jpg", False),
    ],
)
def test_a_name_of_any_tool_is_a_path_with_forward_slashes(text: str, parts: str, is_foreign: bool) -> None:
    name = parse_name(text)

    assert ("/".join(name.parts), name.is_foreign) == (parts, is_foreign)


@pytest.mark.parametrize("text", ["", ".", "..", "/", "C:\\", "a\0.jpg", "a\n.jpg", "a::b.jpg", "\ud800.jpg"])
def test_a_name_that_no_file_has_is_refused(text: str) -> None:
    with pytest.raises(RecordError, match="file_name_unsafe"):
        parse_name(text)


@pytest.mark.parametrize("text", ["../1.jpg", "C:\\a\\..\\1.jpg", "https://host/%2e%2e/1.jpg", "a/..\\1.jpg"])
def test_a_name_that_leaves_its_folder_is_seen_in_every_spelling(text: str) -> None:
    with pytest.raises(RecordError, match="file_name_unsafe"):
        parse_name(text).check_inside()


@pytest.mark.parametrize(
    ("text", "stems"),
    [
        ("a/b.c.JPEG", ["b.c"]),
        ("frame_1.5", ["frame_1.5", "frame_1"]),
        ("1", ["1"]),
        (".jpg", [".jpg"]),
    ],
)
def test_dots_belong_to_the_stem_except_the_one_of_an_images_suffix(text: str, stems: list[str]) -> None:
    assert parse_name(text).stems == stems


@pytest.mark.parametrize(
    ("text", "files", "found"),
    [
        ("C:\\x\\1.jpg", ["1.jpg", "2.jpg"], ["1.jpg"]),
        ("C:\\x\\1.jpg", ["a/1.jpg", "b/1.jpg"], ["a/1.jpg", "b/1.jpg"]),
        ("C:\\x\\b\\1.jpg", ["a/1.jpg", "b/1.jpg"], ["b/1.jpg"]),
        ("/x/1.jpg", ["1.jpg", "thumbs/1.jpg"], ["1.jpg", "thumbs/1.jpg"]),
        ("a/1.jpg", ["a/1.JPG", "b/1.jpg"], ["a/1.JPG"]),
        ("1.jpeg", ["1.jpg"], ["1.jpg"]),
        ("1.JPG", ["1.jpeg"], ["1.jpeg"]),
        ("IMG.JPG", ["img.jpg"], ["img.jpg"]),
        ("IMG.JPG", ["img.jpg", "Img.jpg"], ["img.jpg", "Img.jpg"]),
        ("1.jpg", ["1.png"], []),
        ("1.jpg", ["1"], ["1"]),
        ("1", ["1.jpg", "1.txt"], ["1.jpg"]),
        ("1", ["1.jpg", "1.png"], ["1.jpg", "1.png"]),
        ("frame.2", ["frame.2.jpg", "frame.jpg"], ["frame.2.jpg"]),
        ("https://host/a%20b.jpg", ["a b.jpg"], ["a b.jpg"]),
        ("a%20b.jpg", ["a b.jpg"], ["a b.jpg"]),
        ("cafe\u0301.jpg", ["caf\u00e9.jpg"], ["caf\u00e9.jpg"]),
        ("11.jpg", ["1.jpg", "111.jpg"], []),
        ("train/1.jpg", ["val/1.jpg"], []),
        ("C:\\set\\train2017\\1.jpg", ["valid/1.jpg", "training/1.jpg"], ["training/1.jpg"]),
        ("/set/images/1.jpg", ["val/1.jpg"], ["val/1.jpg"]),
        ("/set/train/1.jpg", ["valley/1.jpg"], ["valley/1.jpg"]),
    ],
)
def test_only_the_file_with_the_names_last_parts_is_meant(
    text: str, files: list[str], found: list[str]
) -> None:
    assert FileNames(files).find(parse_name(text)) == found


def test_a_file_in_the_folder_of_another_split_is_another_image() -> None:
    assert FileNames(["1.jpg"], root="val2017").find(parse_name("/set/train2017/1.jpg")) == []
    assert FileNames(["1.jpg"], root="train").find(parse_name("/set/train2017/1.jpg")) == ["1.jpg"]


@pytest.mark.parametrize(
    ("text", "sample", "is_exact", "by_name"),
    [
        ("a/1.jpg", "0.tar/a/1", True, False),
        ("s3://web/1.tar/c/2.PNG", "1.tar/c/2", True, False),
        ("web/0.tar/b/1", "0.tar/b/1", True, False),
        ("train/a/1.jpg", "0.tar/a/1", False, False),
        ("C:\\train\\a\\1.jpg", "0.tar/a/1", False, True),
        ("/x/2.jpg", "1.tar/c/2", False, True),
        ("x/img.v2.jpg", "1.tar/img", False, True),
    ],
)
def test_a_sample_is_found_by_key_by_shard_and_key_and_then_by_last_parts(
    text: str, sample: str, is_exact: bool, by_name: bool
) -> None:
    samples: SampleNames[int] = SampleNames()
    for number, (shard, key) in enumerate([("0", "a/1"), ("0", "b/1"), ("1", "c/2"), ("1", "img")]):
        samples.add(f"s3://web/{shard}.tar", key, number)

    match = samples.find(parse_name(text))

    assert (str(match.sample), match.is_exact, match.by_name) == (sample, is_exact, by_name)


def test_the_name_of_a_key_map_may_be_a_path_of_another_machine() -> None:
    samples: SampleNames[int] = SampleNames()
    samples.add_as("/web/0.tar", "D:\\train\\1.5.jpg", 7)

    assert samples.find(parse_name("D:\\train\\1.5.jpg")).sample.place == 7
    assert samples.find(parse_name("D:/train/1.5")).is_exact
    with pytest.raises(RecordError, match="image_missing"):
        samples.find(parse_name("1.jpg"))
