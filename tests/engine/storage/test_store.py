from __future__ import annotations

import errno
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from engine.settings import StorageSettings
from engine.storage import retry
from engine.storage.filesystems import translate_store_errors
from engine.storage.store import Store, open_store
from schemas.errors import ConfigError, NotFoundError, RuntimeEnvironmentError
from tests.engine.s3_server import s3_bucket


@pytest.fixture(scope="module")
def bucket() -> Iterator[tuple[str, StorageSettings]]:
    with s3_bucket() as bucket:
        yield bucket


@pytest.fixture(params=["local", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    name = uuid.uuid4().hex[:8]
    if request.param == "local":
        return open_store(str(tmp_path / name))
    if request.param == "memory":
        return open_store(f"memory://{name}")
    url, settings = request.getfixturevalue("bucket")
    return open_store(f"{url}/{name}", settings)


def test_the_first_put_wins_and_stays(store: Store) -> None:
    first = store.put_if_absent("commits/u/a.json", b"first")
    second = store.put_if_absent("commits/u/a.json", b"second")

    assert (first, second, store.read("commits/u/a.json")) == (True, False, b"first")


class Passing:
    """A filesystem whose next calls fail, but not later ones."""

    def __init__(self, filesystem: Any, failures: int) -> None:
        self._filesystem, self.failures = filesystem, failures

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._filesystem, name)

        def call(*arguments: Any, **options: Any) -> Any:
            if self.failures:
                self.failures -= 1
                raise OSError(errno.EIO, "the disk did not answer")
            return verb(*arguments, **options)

        return call


LOOKS: dict[str, Callable[[Store], object]] = {
    "read": lambda store: store.read("a") == b"x",
    "list": lambda store: store.list("") == ["a"],
    "exists": lambda store: store.exists("a"),
    "size": lambda store: store.size("a") == 1,
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_that_fails_in_passing_is_tried_again_within_bounds(
    store: Store, look: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(retry, "wait", waits.append)
    store.put("a", b"x")
    store._fs = Passing(store._fs, retry.TRIES - 1)
    assert LOOKS[look](store)
    assert waits == [0.2, 0.4, 0.8, 1.6]

    store._fs.failures = retry.TRIES
    with pytest.raises(OSError, match="did not answer"):
        LOOKS[look](store)


def test_an_answer_is_not_asked_for_twice(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "wait", lambda seconds: pytest.fail("it waited"))
    with pytest.raises(NotFoundError):
        store.read("nothing")
    with pytest.raises(NotFoundError):
        store.size("nothing")
    assert not store.exists("nothing") and store.list("nothing") == []


def test_an_empty_object_is_exclusive_too(store: Store) -> None:
    assert store.put_if_absent("empty", b"") is True
    assert store.put_if_absent("empty", b"late") is False
    assert store.read("empty") == b""


def test_a_content_addressed_put_may_be_repeated(store: Store) -> None:
    store.put("data/u/abc.parquet", b"rows")
    store.put("data/u/abc.parquet", b"rows")

    assert (store.read("data/u/abc.parquet"), store.size("data/u/abc.parquet")) == (b"rows", 4)


def test_listing_is_sorted_relative_and_of_one_folder(store: Store) -> None:
    for path in ("snapshots/2.json", "snapshots/1.json", "data/x.parquet"):
        store.put(path, b"x")

    assert store.list("snapshots") == ["snapshots/1.json", "snapshots/2.json"]
    assert store.list("nothing") == []


def test_what_is_absent_is_said_to_be(store: Store) -> None:
    assert not store.exists("no/such")
    with pytest.raises(NotFoundError, match="no/such"):
        store.read("no/such")
    with pytest.raises(NotFoundError, match="no/such"):
        store.size("no/such")


def test_what_is_deleted_is_gone_and_may_be_deleted_again(store: Store) -> None:
    store.put("data/x", b"x")
    store.delete("data/x")
    store.delete("data/x")

    assert not store.exists("data/x")
    assert store.put_if_absent("data/x", b"y")


def test_a_write_is_seen_by_a_listing_made_before(store: Store) -> None:
    store.put_if_absent("snapshots/1.json", b"1")
    store.list("snapshots")
    store.put_if_absent("snapshots/2.json", b"2")

    assert len(store.list("snapshots")) == 2


def test_of_eight_racing_creators_exactly_one_wins(store: Store) -> None:
    barrier = threading.Barrier(8)

    def create(number: int) -> bool:
        barrier.wait()
        return store.put_if_absent("race", str(number).encode())

    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(create, range(8)))

    assert won.count(True) == 1
    assert store.read("race") == str(won.index(True)).encode()


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../b"])
def test_no_path_leaves_the_root(store: Store, path: str) -> None:
    with pytest.raises(ValueError, match="leaves the root"):
        store.put(path, b"x")


@pytest.mark.parametrize("step", ["os.fsync", "os.link", "os.replace"])
@pytest.mark.parametrize("verb", ["put", "put_if_absent"])
def test_a_local_write_that_dies_leaves_a_whole_object_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, verb: str
) -> None:
    store = open_store(str(tmp_path))

    def die(*_: object) -> None:
        raise OSError("the machine died here")

    with monkeypatch.context() as patch, suppress(OSError):
        patch.setattr(step, die)
        getattr(store, verb)("record", b"whole")

    assert store.list("") in ([], ["record"])
    assert not store.exists("record") or store.read("record") == b"whole"
    assert store.exists("record") or store.put_if_absent("record", b"whole")


def test_a_dead_writers_temporary_file_is_no_object(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / ".tmp-1-abc").write_bytes(b"half")

    assert store.list("snapshots") == []


@pytest.mark.parametrize(
    "url",
    [
        "simplecache::s3://bucket/x",
        "https://example.com/x",
        "ftp://host/x",
        "reference://x",
        "github://a:b@c/x",
        "zip://x",
        "s3://key:secret@bucket/x",
        "pipe:cat /etc/passwd",
    ],
)
def test_urls_that_are_not_plain_storage_are_refused(url: str) -> None:
    if url.startswith("pipe:"):
        assert open_store(url).url == os.path.abspath(url)  # a file name like any other, never a command
        return
    with pytest.raises(ConfigError) as caught:
        open_store(url)

    assert "secret" not in str(caught.value)


def test_a_file_url_and_its_path_are_one_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert {open_store(url).url for url in (f"file://{tmp_path}/out", "out", "./x/../out/")} == {
        str(tmp_path / "out")
    }


def test_trouble_with_a_bucket_is_told_apart(bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeEnvironmentError, match=r"profile \(no-such\).*storage.profile"):
        open_store("s3://some/where", StorageSettings(profile="no-such")).exists("x")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(OSError, match="Could not connect"):
        open_store("s3://some/where", StorageSettings(endpoint_url="http://127.0.0.1:9")).exists("x")


def test_denied_access_is_the_environments_problem_and_an_answer_passes_through() -> None:
    with pytest.raises(RuntimeEnvironmentError, match="/out: access denied"), translate_store_errors("/out"):
        raise PermissionError("not yours")
    for answer in (FileNotFoundError, FileExistsError, OSError):
        with pytest.raises(answer), translate_store_errors("/out"):
            raise answer


@pytest.mark.parametrize(
    "url", ["https://key:secret@minio:9000", "https://minio?X-Amz-Signature=1", "minio:9000"]
)
def test_an_endpoint_holds_no_credentials(url: str) -> None:
    StorageSettings(endpoint_url="http://minio:9000")

    with pytest.raises(ValidationError, match="set credentials in the environment"):
        StorageSettings(endpoint_url=url)


def test_a_name_that_is_a_folder_cannot_be_written_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "labels.json").mkdir()

    with pytest.raises(IsADirectoryError):
        open_store(str(tmp_path)).put("labels.json", b"{}")

    assert [path.name for path in tmp_path.iterdir()] == ["labels.json"]
