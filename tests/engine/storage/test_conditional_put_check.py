"""The self-test accepts stores that keep their promises and refuses others."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.storage.conditional_put_check import CREATORS, check_store
from engine.storage.retry import TRIES, with_retries
from engine.storage.store import Store, open_store
from pipelines.label.run import label
from schemas.errors import RuntimeEnvironmentError
from tests.engine.s3_server import s3_bucket
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import job_of, plain_captions, write_shard


class IgnoresConditions(Store):
    """Overwrites an existing object, as stores do that do not support If-None-Match."""

    def put_if_absent(self, path: str, data: bytes) -> bool:
        self.put(path, data)
        return True


class OverwritesEmpty(Store):
    """Treats an empty object as missing, as s3fs does with `open(path, "xb")`."""

    def put_if_absent(self, path: str, data: bytes) -> bool:
        if self.exists(path) and self.size(path):
            return False
        self.put(path, data)
        return True


class ChecksThenWrites(Store):
    """Checks first and writes then: correct for one writer, wrong for two at the same time."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._together = threading.Barrier(CREATORS)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        free = not self.exists(path)
        if path.endswith("-race"):
            self._together.wait()
        if free:
            self.put(path, data)
        return free


class OutOfReach(Store):
    """Fails every call, and counts the calls."""

    asked = 0

    def put_if_absent(self, path: str, data: bytes) -> bool:
        OutOfReach.asked += 1
        raise ConnectionError("nobody answers")

    def delete(self, path: str) -> None:
        self.put_if_absent(path, b"")


class ListsLate(Store):
    def list(self, prefix: str) -> list[str]:
        return []


def fresh() -> str:
    return f"memory://{uuid.uuid4().hex}"


@pytest.mark.parametrize("kind", ["local", "memory", "s3"])
def test_a_store_that_keeps_its_word_passes_and_is_left_empty(kind: str, tmp_path: Path) -> None:
    if kind == "s3":
        with s3_bucket() as (url, storage):
            check_store(store := open_store(f"{url}/out", storage))
            assert store.list("") == []
        return
    check_store(store := open_store(str(tmp_path) if kind == "local" else fresh()))
    assert store.list("") == []


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (IgnoresConditions, "an object that exists was created a second time"),
        (OverwritesEmpty, "an empty object that exists was created"),
        (ChecksThenWrites, "8 of 8 that created one object"),
        (ListsLate, "a listing does not show"),
    ],
)
def test_a_store_that_lies_is_refused_with_the_remedy(
    make: Callable[[str], Store], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = make(fresh())

    with pytest.raises(RuntimeEnvironmentError, match=words) as caught:
        check_store(store)

    assert "run.single_writer: true" in str(caught.value)
    with caplog.at_level(logging.WARNING):
        check_store(make(fresh()), single_writer=True)
    assert "start no second run" in caplog.text
    assert open_store(store.url).list("") == []


def test_passing_trouble_of_any_call_is_no_reason_to_refuse_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    class FailsEveryOther(Store):
        calls = 0

        def _trip(self) -> None:
            self.calls += 1
            if self.calls % 2:
                raise OSError("503 SlowDown")

        def put_if_absent(self, path: str, data: bytes) -> bool:
            self._trip()
            return super().put_if_absent(path, data)

        @with_retries
        def read(self, path: str) -> bytes:
            self._trip()
            return super().read(path)

        def delete(self, path: str) -> None:
            self._trip()
            super().delete(path)

    monkeypatch.setattr("engine.storage.retry.wait", lambda seconds: None)
    store = FailsEveryOther(fresh())

    check_store(store)

    assert store.calls > 20 and store.list("") == []


class MayNotDelete(Store):
    def delete(self, path: str) -> None:
        raise RuntimeEnvironmentError(f"{self.url}: access denied")


def test_a_store_that_may_not_be_deleted_from_is_told_which_right_it_needs() -> None:
    with pytest.raises(RuntimeEnvironmentError, match="s3:DeleteObject.*and delete self-test-"):
        check_store(MayNotDelete(fresh()))


def test_what_the_check_finds_is_told_before_a_missing_right_to_delete() -> None:
    class MayNotWrite(MayNotDelete):
        def put_if_absent(self, path: str, data: bytes) -> bool:
            raise RuntimeEnvironmentError("no right to write")

    with pytest.raises(RuntimeEnvironmentError, match="no right to write"):
        check_store(MayNotWrite(fresh()))


def test_a_store_that_dies_in_the_check_is_left_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.storage.retry.wait", lambda seconds: None)

    class Dies(Store):
        def read(self, path: str) -> bytes:
            raise OSError("away")

    store = Dies(fresh())

    with pytest.raises(OSError, match="away"):
        check_store(store)

    assert store.list("") == []


def test_a_job_on_a_store_that_lies_commits_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = fresh()
    job = job_of(tmp_path, [write_shard(tmp_path / "a.tar", plain_captions(3))], output={"url": url})
    with monkeypatch.context() as patch:
        patch.setattr(Store, "put_if_absent", IgnoresConditions.put_if_absent)
        with pytest.raises(RuntimeEnvironmentError, match="could both commit"):
            label(job, factories=FACTORIES)

    assert open_store(url).list("") == []
    assert label(job, factories=FACTORIES)["units"]["committed"] == 1


def test_a_refusal_in_another_words_than_awss_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check a bare 412: s3fs only recognizes one that names the condition as "exists"."""
    from botocore.exceptions import ClientError
    from s3fs.errors import translate_boto_error

    def answer(code: str, status: int) -> OSError:
        answer = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
        error = translate_boto_error(ClientError(answer, "PutObject"))
        assert type(error) is OSError
        return error

    with s3_bucket() as (url, storage):
        store = open_store(f"{url}/out", storage)

        def fail_with(error: OSError) -> None:
            def fail(*_: object, **__: object) -> None:
                raise error

            monkeypatch.setattr(store._fs, "pipe_file", fail)

        fail_with(answer("PreconditionFailed", 412))
        assert store.put_if_absent("x", b"1") is False
        fail_with(answer("ConditionalRequestConflict", 409))
        with pytest.raises(OSError, match="ConditionalRequestConflict"):  # unknown: to be tried again
            store.put_if_absent("x", b"1")


def test_a_store_out_of_reach_is_asked_one_call_long_and_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.storage.retry.FIRST_WAIT_S", 0.0)

    with pytest.raises(ConnectionError, match="nobody answers"):
        check_store(OutOfReach(str(tmp_path)))

    assert OutOfReach.asked == TRIES + 1
