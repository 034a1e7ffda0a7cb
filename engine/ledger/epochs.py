"""Epochs: numbered claims by which a driver or a clean-up detects that a later one has started.

An epoch has one holder. The holder of an older epoch stops before it deletes anything, or before it publishes against
another job. The safety of commits does not depend on epochs (docs/decisions/0005-segments-and-epochs.md).
"""

from __future__ import annotations

import logging
import os
import secrets
from typing import Literal

from engine.ledger.commits import put_record, record_bytes
from engine.ledger.records import parse_record
from engine.storage.store import Store
from schemas.digests import shorten_digest
from schemas.errors import ConflictError, NotFoundError
from schemas.ledger import EpochRecord

log = logging.getLogger(__name__)
_FOLDER = "epochs"


def epoch_path(number: int) -> str:
    """Return the path of an epoch's claim; with 8 digits, names sort as numbers do."""
    return f"{_FOLDER}/{number:08d}.json"


def latest_epoch(store: Store) -> int:
    """Return the highest claimed epoch; 0 if there is none."""
    names = [path.rsplit("/", 1)[-1].removesuffix(".json") for path in store.list(_FOLDER)]
    return max((int(name) for name in names if name.isdigit()), default=0)


def read_epoch(store: Store, number: int) -> EpochRecord | None:
    """Return the claim of an epoch; None if it is free. Raises ConflictError for a claim that cannot be read."""
    try:
        data = store.read(epoch_path(number))
    except NotFoundError:
        return None
    remedy = "end all runs on this output and move epochs/ away: its only use is that runs detect each other"
    return parse_record(
        EpochRecord, data, f"{store.url}/{epoch_path(number)}", "the claim of an epoch", remedy
    )


def claim_epoch(store: Store, purpose: Literal["label", "clean"], job: str | None = None) -> Epoch:
    """Claim the next free epoch."""
    holder = f"{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(8)}"
    number = latest_epoch(store) + 1
    while True:
        record = EpochRecord(number=number, purpose=purpose, job=job, holder=holder)
        # after a lost answer our own claim may already exist
        if put_record(store, epoch_path(number), record) == record_bytes(record):
            return Epoch(store, record)
        number += 1


class Epoch:
    """A claimed epoch. Each check costs two reads: of our claim, and of the first number that was free before."""

    def __init__(self, store: Store, record: EpochRecord) -> None:
        self.record = record
        self._store = store
        self._seen = record.number
        self._superseded_by: EpochRecord | None = None
        self._rival: EpochRecord | None = None
        self._has_warned = False

    @property
    def number(self) -> int:
        """The epoch's number, from 1."""
        return self.record.number

    def check_newest(self) -> None:
        """Check before a destructive step. Raises ConflictError if any process claimed a higher epoch."""
        self._refresh()
        if (later := self._superseded_by) is not None:
            raise ConflictError(
                f"{self._store.url}: epoch {later.number} was claimed by {later.holder} ({later.purpose}) after ours, "
                f"{self.number}; nothing more is deleted; run the command again when that one has ended"
            )

    def check_no_rival(self) -> None:
        """Check before publishing. Raises ConflictError if a `label` of another job claimed a higher epoch.

        A run of the same job does no harm: both produce the same rows, and only some work is done twice.
        """
        self._refresh()
        if (later := self._rival) is not None:
            raise ConflictError(
                f"{self._store.url}: epoch {later.number} of another job ({shorten_digest(later.job or '?')}, by "
                f"{later.holder}) was claimed after ours ({self.number}, {shorten_digest(self.record.job or '?')}); "
                "committed units are kept; give each job its own output.url, or run this job again when the other ended"
            )

    def _refresh(self) -> None:
        """Read the claims since the last check. Raises ConflictError if our own claim is gone."""
        if read_epoch(self._store, self.number) != self.record:
            raise ConflictError(
                f"{self._store.url}/{epoch_path(self.number)}, written when this run began, no longer exists: the "
                "output was deleted, moved or replaced, and its committed units may be gone; restore it, or run the "
                "same command again, which does what is missing"
            )
        while (later := read_epoch(self._store, self._seen + 1)) is not None:
            self._seen += 1
            self._superseded_by = later
            if later.purpose != "label":
                continue
            if later.job != self.record.job:
                self._rival = later
            elif not self._has_warned:
                self._has_warned = True
                log.warning(
                    "%s also works on this job (epoch %d): nothing is lost, but some work is done twice",
                    later.holder,
                    later.number,
                )
