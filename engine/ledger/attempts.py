"""Records that a worker began a unit. They are written before the work, so they survive the death of the driver.

Attempts are counted for reports and for back-off. They never decide about a unit or a sample.
"""

from __future__ import annotations

import secrets

from engine.ledger.commits import put_record, record_bytes
from engine.ledger.records import parse_record
from engine.storage.store import Store
from schemas.digests import shorten_digest
from schemas.ledger import AttemptRecord

BACK_OFF_AFTER = 3  # attempts of a unit after which others go first


class TooManyAttemptsError(Exception):
    """A unit was begun so often, in earlier runs too, that the other units should be done first."""

    def __init__(self, unit: str, attempts: int) -> None:
        super().__init__(f"{unit} was begun {attempts} times and not committed")
        self.attempts = attempts


def attempt_path(unit: str, fingerprint: str, number: int) -> str:
    """Return the path of an attempt's record."""
    return f"{_folder(unit, fingerprint)}/{number:04d}.json"


def begin_attempt(
    store: Store, unit: str, fingerprint: str, epoch: int, worker: str, at_most: int | None = None
) -> int:
    """Record that a unit (given by its name) is begun. Return the number of the attempt, from 1: the first free one.

    at_most: raise TooManyAttemptsError and write nothing if the unit was already begun so many times
    """
    number, nonce = 1, secrets.token_hex(8)
    while at_most is None or number <= at_most:
        record = AttemptRecord(
            unit=unit, fingerprint=fingerprint, number=number, epoch=epoch, worker=worker, nonce=nonce
        )
        if put_record(store, attempt_path(unit, fingerprint, number), record) == record_bytes(record):
            return number
        number += 1
    raise TooManyAttemptsError(unit, number - 1)


def list_attempts(store: Store, unit: str, fingerprint: str) -> list[AttemptRecord]:
    """Return the attempts of a unit under a fingerprint, in order."""
    return [_read(store, path) for path in store.list(_folder(unit, fingerprint))]


def _folder(unit: str, fingerprint: str) -> str:
    return f"attempts/{unit}/{shorten_digest(fingerprint)}"


def _read(store: Store, path: str) -> AttemptRecord:
    remedy = "delete it: attempts are only counted"
    return parse_record(
        AttemptRecord, store.read(path), f"{store.url}/{path}", "the record of an attempt", remedy
    )
