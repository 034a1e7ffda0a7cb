from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.reading.shard_urls import expand_braces, expand_urls
from schemas.errors import ConfigError, NotFoundError


@given(st.integers(0, 200), st.integers(0, 30), st.integers(1, 5))
def test_a_range_counts_with_its_zeros(first: int, more: int, width: int) -> None:
    low, high = str(first).zfill(width), str(first + more).zfill(width)

    names = list(expand_braces(f"s3://b/{{{low}..{high}}}.tar"))

    assert [int(name[7:-4]) for name in names] == list(range(first, first + more + 1))
    if low.startswith("0") and len(low) == len(high):
        assert {len(name) for name in names} == {len(f"s3://b/{low}.tar")}


def test_groups_multiply_from_the_left() -> None:
    assert list(expand_braces("{a,b}-{1..2}")) == ["a-1", "a-2", "b-1", "b-2"]


@pytest.mark.parametrize("pattern", ["x{1..2", "x}1{", "{}", "{5..2}", "{1..99999999999}", "{a}"])
def test_a_brace_that_cannot_be_meant_is_named(pattern: str) -> None:
    with pytest.raises(ConfigError, match="input.urls"):
        list(expand_braces(pattern))


def test_globs_are_sorted_and_no_shard_comes_twice(tmp_path: Path) -> None:
    for name in ("b.tar", "a.tar", "c.txt"):
        (tmp_path / name).touch()

    urls = expand_urls([f"{tmp_path}/b.tar", f"{tmp_path}/*.tar", f"file://{tmp_path}/a.tar"])

    assert [Path(url).name for url in urls] == ["b.tar", "a.tar"]


def test_a_glob_without_a_match_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no file matches"):
        expand_urls([f"{tmp_path}/*.tar"])


@pytest.mark.parametrize("url", ["s3://b/a.tar#1", "/data/a#1.tar"])
def test_a_name_that_an_identity_would_cut_short_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="rename"):
        expand_urls([url])


def test_a_list_of_shards_stands_for_its_lines(tmp_path: Path) -> None:
    (tmp_path / "shards.txt").write_text("# of today\n/data/b.tar\n\n  /data/{0..1}.tar\n/data/b.tar\n")

    urls = expand_urls([f"@{tmp_path}/shards.txt", "/data/last.tar"])

    assert urls == ["/data/b.tar", "/data/0.tar", "/data/1.tar", "/data/last.tar"]


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (None, NotFoundError, "is not a file"),
        (b"# nothing\n", ConfigError, "names no shard"),
        (b"@more.txt\n", ConfigError, "another list"),
        (b"\xff.tar\n", ConfigError, "not UTF-8"),
        (b"ftp://a/b.tar\n", ConfigError, "protocol 'ftp'"),
    ],
)
def test_a_list_that_names_no_shards_is_refused(
    tmp_path: Path, content: bytes | None, error: type[Exception], words: str
) -> None:
    if content is not None:
        (tmp_path / "shards.txt").write_bytes(content)

    with pytest.raises(error, match=words):
        expand_urls([f"@{tmp_path}/shards.txt"])
