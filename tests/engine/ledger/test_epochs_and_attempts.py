from __future__ import annotations

import logging
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import engine.storage.retry
from engine.ledger.attempts import TooManyAttemptsError, attempt_path, begin_attempt, list_attempts
from engine.ledger.epochs import claim_epoch, epoch_path, latest_epoch, read_epoch
from engine.storage.store import Store, open_store
from schemas.errors import ConflictError

FINGERPRINT = "sha256:" + "f" * 64


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return open_store(str(tmp_path) if request.param == "local" else f"memory://{uuid.uuid4().hex[:8]}")


class AnswersLost(Store):
    """A store that loses the first answer to every write."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._asked: set[str] = set()

    def put_if_absent(self, path: str, data: bytes) -> bool:
        created = super().put_if_absent(path, data)
        if path not in self._asked:
            self._asked.add(path)
            raise OSError("the answer was lost")
        return created


def test_epochs_count_up_and_each_has_one_holder(store: Store) -> None:
    with ThreadPoolExecutor(8) as threads:
        claimed = list(threads.map(lambda _: claim_epoch(store, "label", "sha256:a"), range(16)))

    assert sorted(epoch.number for epoch in claimed) == list(range(1, 17))
    assert latest_epoch(store) == 16
    assert all(read_epoch(store, epoch.number) == epoch.record for epoch in claimed)


def test_a_claim_whose_answer_was_lost_is_still_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.storage.retry, "FIRST_WAIT_S", 0.0)
    store = AnswersLost(str(tmp_path))

    assert claim_epoch(store, "label", "sha256:a").number == 1
    assert begin_attempt(store, "u", FINGERPRINT, 1, "w") == 1
    assert begin_attempt(store, "u", FINGERPRINT, 1, "w") == 2


def test_a_later_epoch_of_another_job_stops_a_publisher_and_names_it(store: Store) -> None:
    ours = claim_epoch(store, "label", "sha256:ours")
    ours.check_no_rival()
    theirs = claim_epoch(store, "label", "sha256:theirs")

    for _ in range(2):  # it stays so
        with pytest.raises(ConflictError, match=r"epoch 2 of another job \(theirs"):
            ours.check_no_rival()
    theirs.check_no_rival()


def test_a_publisher_whose_own_claim_is_gone_publishes_no_more(store: Store) -> None:
    ours = claim_epoch(store, "label", "sha256:ours")
    store.delete(epoch_path(1))

    with pytest.raises(ConflictError, match="deleted, moved or replaced"):
        ours.check_no_rival()
    claim_epoch(store, "label", "sha256:ours")  # in what stands in its place, the number is another's
    with pytest.raises(ConflictError, match="deleted, moved or replaced"):
        ours.check_newest()


def test_a_rival_of_the_same_job_and_a_clean_up_stop_nobody(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    ours = claim_epoch(store, "label", "sha256:ours")
    claim_epoch(store, "clean")
    ours.check_no_rival()
    assert caplog.text == ""
    for _ in range(2):
        claim_epoch(store, "label", "sha256:ours")

    with caplog.at_level(logging.WARNING):
        ours.check_no_rival()
        ours.check_no_rival()

    assert caplog.text.count("work is done twice") == 1


def test_any_later_epoch_stops_what_destroys(store: Store) -> None:
    cleaning = claim_epoch(store, "clean")
    cleaning.check_newest()
    claim_epoch(store, "label", "sha256:a")

    for _ in range(2):
        with pytest.raises(ConflictError, match="epoch 2 was claimed by"):
            cleaning.check_newest()


def test_an_epoch_that_cannot_be_read_is_a_conflict(store: Store) -> None:
    ours = claim_epoch(store, "label", "sha256:a")
    store.put_if_absent(epoch_path(2), b"{}")

    with pytest.raises(ConflictError, match="cannot be read"):
        ours.check_no_rival()


def test_attempts_are_numbered_from_one_whoever_makes_them(store: Store) -> None:
    with ThreadPoolExecutor(8) as threads:
        numbers = list(
            threads.map(lambda n: begin_attempt(store, "u", FINGERPRINT, 3, f"w{n % 2}"), range(12))
        )

    assert sorted(numbers) == list(range(1, 13))
    assert [record.number for record in list_attempts(store, "u", FINGERPRINT)] == list(range(1, 13))
    assert {record.epoch for record in list_attempts(store, "u", FINGERPRINT)} == {3}
    assert begin_attempt(store, "u", "sha256:" + "0" * 64, 3, "w") == 1
    assert [record.worker for record in list_attempts(store, "u", "sha256:" + "0" * 64)] == ["w"]


def test_a_unit_with_many_attempts_may_be_refused_without_another_record(store: Store) -> None:
    for number in (1, 2, 3):
        assert begin_attempt(store, "u", FINGERPRINT, 1, "w", at_most=3) == number

    with pytest.raises(TooManyAttemptsError, match="u was begun 3 times"):
        begin_attempt(store, "u", FINGERPRINT, 1, "w", at_most=3)

    assert not store.exists(attempt_path("u", FINGERPRINT, 4))
    assert begin_attempt(store, "u", FINGERPRINT, 1, "w") == 4
