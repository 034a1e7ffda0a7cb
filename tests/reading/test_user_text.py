"""Small files that a user names: for any bytes, the text or one message that names the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.reading.user_text import read_json, read_key_map, read_text
from schemas.errors import ConfigError, NotFoundError

COLUMNS = "shard,key,file_name\n"


def test_a_mark_of_the_byte_order_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "names").write_text("dog.jpg cat.jpg", encoding="utf-8-sig")

    assert read_text(tmp_path / "names", "--split").split() == ["dog.jpg", "cat.jpg"]


@pytest.mark.parametrize("data", [b"\xff\xfed\0", b"caf\xe9"])
def test_text_of_another_encoding_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "names").write_bytes(data)

    with pytest.raises(ConfigError, match="--split .*names: not UTF-8 text"):
        read_text(tmp_path / "names", "--split")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file; correct the path"):
        read_text(tmp_path, "--split")


@pytest.mark.parametrize("text", ["", "[" * 100_000, '{"0": "dog", "0": "cat"}', '{"0": ' + "9" * 5000 + "}"])
def test_what_is_no_plain_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "map.json").write_text(text)

    with pytest.raises(ConfigError, match="--label-map .*map.json: not valid JSON.*; correct the file"):
        read_json(tmp_path / "map.json", "--label-map")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected the columns shard, key and file_name"),
        ("shard,key\na.tar,1\n", "expected the columns"),
        (COLUMNS + "a.tar,1\n", "row 1: a cell is empty"),
        (COLUMNS + "a.tar,1,1.jpg\na.tar,2,\n", "row 2: a cell is empty"),
        (COLUMNS + "a.tar,1,1.jpg\na.tar,1,2.jpg\n", "row 2: a.tar 1 occurs twice"),
        (COLUMNS + f"a.tar,1,{'x' * 200_000}\n", "not valid CSV"),
    ],
)
def test_a_key_map_with_a_mistake_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "map.csv").write_text(text)

    with pytest.raises(ConfigError, match=says):
        read_key_map(tmp_path / "map.csv", ("file_name",))


def test_a_key_map_may_name_images_in_one_of_several_ways(tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text("shard,key,file_name,coco_image_id\na.tar,1,,139\n")

    assert [
        row["coco_image_id"] for row in read_key_map(tmp_path / "map.csv", ("file_name", "coco_image_id"))
    ] == ["139"]
