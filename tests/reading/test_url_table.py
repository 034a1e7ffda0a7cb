"""Which URLs are opened: four protocols, one filesystem at a time, nothing hidden in the name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import fsspec
import pytest
from fsspec.registry import known_implementations

from engine.reading.shard_cache import stat_shard
from engine.reading.shard_urls import expand_urls
from engine.storage.filesystems import PROTOCOLS, absolute_url, check_shard_url, open_filesystem
from engine.storage.store import open_store
from schemas.errors import ConfigError, ShardDamagedError

CHAINED = [
    "simplecache::s3://b/k", "filecache::file:///etc/passwd", "blockcache::s3://b/k", "zip://x::file:///a.zip",
    "tar://x::/a.tar", "reference://::/refs.json", "dir::file:///etc", "memory://a::file:///b", "s3://b/k::x",
    "::", "a::b", "file:///a::", "simplecache::simplecache::s3://b/k",
]  # fmt: skip
DISGUISED = [
    "S3://b/k", "FILE:///etc/passwd", "s3a://b/k", " s3://b/k", "s3 ://b/k", "file+s3://b/k", "://x", "s3\t://b/k",
    "http://169.254.169.254/latest/meta-data", "https://user:pw@host/x", "gopher://x", "php://filter/x", "data://text,x",
    "jar://a.jar", "expect://id", "ssh://root@host/x", "s3://key:secret@b/k", "gs://token@b/k", "file://a\nb",
    "s3://b/\0", "", " ", "/a\0b", "a\x1b[31m",
]  # fmt: skip
FOREIGN = [
    f"{protocol}://x/y" for protocol in sorted(known_implementations) if protocol not in (*PROTOCOLS, "local")
]


def test_the_table_is_long_enough() -> None:
    assert len(FOREIGN) > 35 and len([*CHAINED, *DISGUISED, *FOREIGN]) >= 60


@pytest.mark.parametrize("url", [*CHAINED, *DISGUISED, *FOREIGN])
def test_every_url_but_those_of_the_four_protocols_is_refused(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(fsspec, "filesystem", lambda name, **_: opened.append(name))
    for use in (absolute_url, open_filesystem, open_store, stat_shard, lambda given: expand_urls([given])):
        with pytest.raises(ConfigError):
            use(url)

    assert opened == []


@pytest.mark.parametrize(
    "url", ["/a/b.tar", "a b/ü.tar", "file:///a/b.tar", "s3://b/k.tar", "gs://b/k.tar", "memory://b/k"]
)
def test_the_four_protocols_and_paths_are_taken(url: str) -> None:
    assert absolute_url(url).endswith(url.rsplit("/", 1)[-1])


def test_fsspec_itself_would_open_a_chain_onto_any_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")

    with fsspec.open(f"simplecache::file://{tmp_path}/secret") as file:
        assert file.read() == b"x"


@pytest.mark.parametrize(
    "url", ["s3://b/a.tar?X-Amz-Signature=canary", "/a.tar?x=canary", "gs://b/a.tar#canary"]
)
def test_a_signed_shard_is_refused_and_its_signature_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_shard_url(url)

    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["s3://user:canary@b/k", "simplecache::s3://user:canary@b/k?sig=canary", "ftp://u:canary@h/x"]
)
def test_credentials_in_a_url_are_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        absolute_url(url)

    assert "canary" not in str(caught.value)


def test_a_path_has_one_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spellings = [
        "a.tar",
        "./a.tar",
        "x/../a.tar",
        f"{tmp_path}//a.tar",
        f"file://{tmp_path}/a.tar",
        f"file://{tmp_path}/%61.tar",
    ]

    assert {absolute_url(spelling) for spelling in spellings} == {str(tmp_path / "a.tar")}


def test_a_link_that_a_user_names_is_followed_and_keeps_its_own_name(tmp_path: Path) -> None:
    """Check docs/hostile_input.md: local paths are trusted, only the content of files is not."""
    (tmp_path / "real.tar").write_bytes(b"x" * 7)
    (tmp_path / "link.tar").symlink_to(tmp_path / "real.tar")
    (tmp_path / "dangling.tar").symlink_to(tmp_path / "gone.tar")

    stat = stat_shard(str(tmp_path / "link.tar"))

    assert (stat.url, stat.size_bytes) == (str(tmp_path / "link.tar"), 7)
    with pytest.raises(ShardDamagedError, match="SHARD_MISSING"):
        stat_shard(str(tmp_path / "dangling.tar"))
    with pytest.raises(ShardDamagedError, match="is a folder"):
        stat_shard(str(tmp_path))


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = "/dev/zero"
    if kind == "fifo":
        path = str(tmp_path / "pipe.tar")
        os.mkfifo(path)

    with pytest.raises(ShardDamagedError, match="SHARD_MISSING"):
        stat_shard(path)


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "a/.."])
def test_a_record_of_an_output_cannot_lie_outside_it(tmp_path: Path, path: str) -> None:
    store = open_store(str(tmp_path / "out"))

    with pytest.raises(ValueError, match="leaves the root"):
        store.put(path, b"x")
    assert json.dumps(sorted(map(str, tmp_path.rglob("*")))) == "[]"


@pytest.mark.parametrize("url", ["s3://[b/k.tar", "gs://b]/k.tar"])
def test_a_malformed_url_is_a_mistake_of_the_job_and_no_accident(url: str) -> None:
    with pytest.raises(ConfigError, match="is not a URL"):
        check_shard_url(url)
