"""A subset of samples: one digest for one selection, whatever file it came from."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.reading.key_selection import Selection, load_selection, parse_selection
from schemas.errors import ConfigError, ConflictError, NotFoundError
from tests.engine.canary import canary

SHARDS = ["/data/a/00.tar", "/data/b/00.tar", "/data/b/01.tar"]


def parquet(path: Path, **columns: list[object]) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


def text(path: Path, content: str) -> str:
    path.write_text(content, encoding="utf-8")
    return str(path)


def test_a_text_file_and_a_table_of_the_same_keys_are_one_choice(tmp_path: Path) -> None:
    lines = load_selection(text(tmp_path / "keys.txt", "b\r\n\na\nb\n"), SHARDS)
    table = load_selection(parquet(tmp_path / "keys.parquet", key=["a", "b"]), SHARDS)

    assert lines == table and lines.digest() == table.digest()
    assert lines.keys_of("anything") == {"a", "b"}


@pytest.mark.parametrize(
    "keys",
    [
        pa.array([7, 0, 2**63], pa.uint64()),
        pa.array([7.0, 0.0, 2.0**63]),
        pa.array(["7", "0", str(2**63)]).dictionary_encode(),
        pa.array([b"7", b"0", str(2**63).encode()]),
    ],
    ids=["whole numbers", "floats", "categories", "bytes"],
)
def test_keys_of_any_type_are_the_text_that_they_are_in_a_shard(tmp_path: Path, keys: pa.Array) -> None:
    pq.write_table(pa.table({"key": keys}), tmp_path / "k.parquet")

    chosen = load_selection(str(tmp_path / "k.parquet"), SHARDS)

    assert chosen.everywhere == {"7", "0", str(2**63)}


def test_a_shard_column_takes_whole_urls_and_unique_ends(tmp_path: Path) -> None:
    named = parquet(
        tmp_path / "k.parquet", key=["x", "y", "z"], shard=["b/00.tar", "01.tar", "/data/b/01.tar"]
    )

    chosen = load_selection(named, SHARDS)

    assert chosen.by_shard == {"/data/b/00.tar": {"x"}, "/data/b/01.tar": {"y", "z"}}
    assert [chosen.may_include(shard) for shard in SHARDS] == [False, True, True]


@pytest.mark.parametrize(
    ("shard", "words"), [("00.tar", "matches 2 of the job's"), ("c/00.tar", "matches none of the job's")]
)
def test_a_shard_that_is_not_one_of_the_jobs_is_refused(tmp_path: Path, shard: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_selection(parquet(tmp_path / "k.parquet", key=["x"], shard=[shard]), SHARDS)


def test_one_shards_digest_does_not_know_the_others(tmp_path: Path) -> None:
    one = Selection(by_shard={"a": frozenset("xy"), "b": frozenset("z")})
    two = Selection(by_shard={"a": frozenset("xy"), "b": frozenset("w")})

    assert one.digest_of("a") == two.digest_of("a") and one.digest_of("b") != two.digest_of("b")
    assert one.digest() != two.digest()


@pytest.mark.parametrize(
    ("name", "content", "error", "words"),
    [
        ("none.txt", None, NotFoundError, "is not a file"),
        ("empty.txt", b"\n\n", ConfigError, "has 0 keys"),
        ("latin.txt", b"caf\xe9\n", ConfigError, "not UTF-8"),
        ("cut.parquet", b"PAR1", ConfigError, "not a readable Parquet"),
    ],
)
def test_a_file_that_names_no_keys_is_refused(
    tmp_path: Path, name: str, content: bytes | None, error: type[Exception], words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(error, match=words):
        load_selection(str(tmp_path / name), SHARDS)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"name": ["x"]}, "no column `key`"),
        ({"key": [True]}, "column 'key' is bool, expected text"),
        ({"key": ["x", None]}, "row 1: column 'key' is null"),
        ({"key": ["x", ""]}, "row 1: column 'key' is empty"),
        ({"key": [1.0, 2.5]}, "row 1: column 'key' holds 2.5, expected a whole number"),
        ({"key": ["x"], "shard": [1]}, "column 'shard' is int64, expected text"),
    ],
)
def test_a_table_without_a_column_of_keys_is_refused(
    tmp_path: Path, columns: dict[str, list[object]], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        load_selection(parquet(tmp_path / "k.parquet", **columns), SHARDS)


def test_a_device_without_an_end_is_no_file_of_keys() -> None:
    with pytest.raises(NotFoundError, match="is not a file"):
        load_selection("/dev/zero", SHARDS)


def test_no_code_of_a_table_of_keys_runs(tmp_path: Path) -> None:
    with canary() as (column, fired):
        pq.write_table(pa.table({"key": pa.array(["x"]), "sung": column}), tmp_path / "k.parquet")
        fired.clear()

        with pytest.raises(ConfigError, match="extension type"):
            load_selection(str(tmp_path / "k.parquet"), SHARDS)
        assert fired == []
        pq.read_schema(tmp_path / "k.parquet")
        assert fired  # it would have, had it been let


@settings(max_examples=40)
@given(st.sets(st.text(min_size=1), min_size=1), st.booleans())
def test_the_written_form_comes_back_as_the_same_choice(keys: set[str], by_shard: bool) -> None:
    chosen = Selection(by_shard={"s": frozenset(keys)}) if by_shard else Selection(frozenset(keys))

    again = parse_selection(chosen.to_bytes(), chosen.digest(), "here")

    assert again == chosen
    with pytest.raises(ConflictError, match="not the selection"):
        parse_selection(chosen.to_bytes() + b'"more"\n', chosen.digest(), "here")
