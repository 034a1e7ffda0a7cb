"""Storage of verdicts: one SQLite file of events that are appended and never changed.

An acknowledged verdict survives the death of the process and a power failure. No verdict is counted twice or
overwritten. This is done by WAL with `synchronous=FULL` (each commit is on disk before it returns), `BEGIN IMMEDIATE`,
an event id made by the client (sent again, it is the same event), undo as an event of its own, and triggers against
changes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

from pipelines.audit.sample import AuditSample
from schemas.errors import ConflictError, NotFoundError, RuntimeEnvironmentError
from schemas.records import Record

Verdict = Literal["accept", "reject", "skip"]
ReviewerKind = Literal["person", "truth"]

_NETWORK_FILESYSTEMS = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "ceph",
    "lustre",
    "glusterfs",
    "afs",
    "beegfs",
}
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS reviewers (name TEXT PRIMARY KEY, kind TEXT NOT NULL)",
    """CREATE TABLE IF NOT EXISTS events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        event_id TEXT NOT NULL UNIQUE,
        item TEXT NOT NULL,
        reviewer TEXT NOT NULL REFERENCES reviewers (name),
        kind TEXT NOT NULL CHECK (kind IN ('accept', 'reject', 'skip', 'undo')),
        undoes TEXT REFERENCES events (event_id),
        at TEXT NOT NULL,
        CHECK ((kind = 'undo') = (undoes IS NOT NULL))
    )""",
    "CREATE UNIQUE INDEX IF NOT EXISTS undone_once ON events (undoes) WHERE undoes IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS by_reviewer ON events (reviewer, item)",
    "CREATE TRIGGER IF NOT EXISTS no_change BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'append only'); END",
    "CREATE TRIGGER IF NOT EXISTS no_removal BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'append only'); END",
)
_VALID_VERDICTS = """
SELECT event_id, item, kind, seq FROM events AS verdict WHERE reviewer = ? AND kind != 'undo'
AND NOT EXISTS (SELECT 1 FROM events WHERE undoes = verdict.event_id)
"""


class ValidVerdict(Record):
    """A verdict that was given and not undone."""

    event_id: str
    item: str
    verdict: Verdict
    seq: int = Field(description="order of giving")


class Verdicts(Record):
    """The verdicts of one reviewer on one sample."""

    sample_digest: str
    view_digest: str
    reviewer: str
    reviewer_kind: ReviewerKind = Field(
        description="`truth`: a program that knows the right answer, never a person"
    )
    by_item: dict[str, Verdict]


class VerdictStore:
    """The verdicts on one sample, in one file."""

    def __init__(self, path: str | Path, sample: AuditSample) -> None:
        """Open or create the file.

        Raises ConflictError if it belongs to another sample, RuntimeEnvironmentError if it cannot be stored safely.
        """
        self._path = Path(path).resolve()
        self._sample = sample
        self._items = {region.item for region in sample.regions}
        _refuse_network_filesystem(self._path)
        with self._transaction() as db:
            for statement in _SCHEMA:
                db.execute(statement)
            db.execute("INSERT OR IGNORE INTO facts VALUES ('sample_digest', ?)", (sample.digest,))
            (there,) = db.execute("SELECT value FROM facts WHERE name = 'sample_digest'").fetchone()
        if there != sample.digest:
            raise ConflictError(
                f"{path} has verdicts on the sample {there}, not {sample.digest}: choose another file"
            )

    def record(self, event_id: str, item: str, reviewer: str, verdict: Verdict) -> int:
        """Store a verdict; return its number once it is on disk.

        The same event again returns the same number. Raises ConflictError if another verdict of this reviewer on the
        item is valid (undo it first) or the id is in use, NotFoundError for an item that is not in the sample.
        """
        with self._transaction() as db:
            _claim_name(db, reviewer, "person")
            return self._store(db, event_id, item, reviewer, verdict)

    def record_all(self, verdicts: Verdicts) -> None:
        """Store a whole review that was made elsewhere, all of it or nothing. The same again changes nothing."""
        if (verdicts.sample_digest, verdicts.view_digest) != (self._sample.digest, self._sample.view_digest):
            raise ConflictError(
                f"the verdicts are on the sample {verdicts.sample_digest}, not {self._sample.digest}; "
                "review this sample"
            )
        with self._transaction() as db:
            _claim_name(db, verdicts.reviewer, verdicts.reviewer_kind)
            for item, verdict in sorted(verdicts.by_item.items()):
                self._store(db, f"{verdicts.reviewer}/{item}", item, verdicts.reviewer, verdict)

    def _store(
        self, db: sqlite3.Connection, event_id: str, item: str, reviewer: str, verdict: Verdict
    ) -> int:
        if item not in self._items:
            raise NotFoundError(f"item {item!r} is not in the sample {self._sample.digest}")
        if known := _find_event(db, event_id, (item, reviewer, verdict, None)):
            return known
        existing = db.execute(_VALID_VERDICTS + "AND item = ?", (reviewer, item)).fetchone()
        if existing:
            raise ConflictError(
                f"{reviewer} already has the verdict {existing[2]!r} for {item}; undo it first to give {verdict!r}"
            )
        return _append(db, (event_id, item, reviewer, verdict, None))

    def undo(self, event_id: str, undoes: str, reviewer: str) -> ValidVerdict:
        """Undo the verdict with the id `undoes` and return it.

        Raises NotFoundError if this reviewer has no such verdict, ConflictError if it was undone before.
        """
        with self._transaction() as db:
            row = db.execute(
                "SELECT event_id, item, kind, seq FROM events WHERE event_id = ? AND reviewer = ? AND kind != 'undo'",
                (undoes, reviewer),
            ).fetchone()
            if row is None:
                raise NotFoundError(f"{reviewer} gave no verdict with the id {undoes!r}")
            if not _find_event(db, event_id, (row[1], reviewer, "undo", undoes)):
                if db.execute("SELECT 1 FROM events WHERE undoes = ?", (undoes,)).fetchone():
                    raise ConflictError(f"the verdict {undoes!r} was undone before; give a new one")
                _append(db, (event_id, row[1], reviewer, "undo", undoes))
            return _make_verdict(row)

    def list_verdicts(self, reviewer: str) -> list[ValidVerdict]:
        """Return this reviewer's verdicts that were not undone, in the order of giving."""
        with self._transaction() as db:
            return [_make_verdict(row) for row in db.execute(_VALID_VERDICTS + "ORDER BY seq", (reviewer,))]

    def reviewers(self) -> dict[str, ReviewerKind]:
        """Return everyone who gave a verdict here, in alphabetical order, and their kind."""
        with self._transaction() as db:
            return dict(db.execute("SELECT name, kind FROM reviewers ORDER BY name").fetchall())

    def verdicts(self, reviewer: str | None = None) -> Verdicts:
        """Return one reviewer's verdicts.

        Without a name they are the only person's, or the only program's if no person reviewed.
        Raises NotFoundError for a name without verdicts, ConflictError if a name is needed.
        """
        known = self.reviewers()
        if reviewer is not None and reviewer not in known:
            raise NotFoundError(
                f"{reviewer!r} gave no verdict in {self._path.name}; those who did: {', '.join(known)}"
            )
        name = reviewer or self._only_reviewer(known)
        return Verdicts(
            sample_digest=self._sample.digest,
            view_digest=self._sample.view_digest,
            reviewer=name,
            reviewer_kind=known.get(name, "person"),
            by_item={verdict.item: verdict.verdict for verdict in self.list_verdicts(name)},
        )

    def _only_reviewer(self, known: dict[str, ReviewerKind]) -> str:
        candidates = [name for name, kind in known.items() if kind == "person"] or list(known)
        if len(candidates) > 1:
            raise ConflictError(
                f"{self._path.name} has verdicts of {', '.join(candidates)}; add --reviewer NAME"
            )
        return candidates[0] if candidates else "nobody yet"

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction with its own connection, committed and on disk when the block ends."""
        try:
            db = sqlite3.connect(self._path, timeout=5, isolation_level=None)
        except sqlite3.Error as error:
            raise RuntimeEnvironmentError(
                f"{self._path}: {error}; the folder must exist and be writable"
            ) from error
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")
        except sqlite3.Error as error:
            raise RuntimeEnvironmentError(
                f"{self._path}: {error}; nothing of this step was stored; remove the cause and try again"
            ) from error
        finally:
            db.close()  # rolls back what was not committed


def _claim_name(db: sqlite3.Connection, reviewer: str, kind: ReviewerKind) -> None:
    """Reserve a name for a person or for a program, never for both. Raises ConflictError if the other has it."""
    db.execute("INSERT OR IGNORE INTO reviewers VALUES (?, ?)", (reviewer, kind))
    (there,) = db.execute("SELECT kind FROM reviewers WHERE name = ?", (reviewer,)).fetchone()
    if there != kind:
        raise ConflictError(f"{reviewer!r} is a {there} in this file, not a {kind}: use another name")


def _find_event(
    db: sqlite3.Connection, event_id: str, content: tuple[str, str, str, str | None]
) -> int | None:
    """Return the number of an event that was sent before. Raises ConflictError if that event had another content."""
    row = db.execute(
        "SELECT seq, item, reviewer, kind, undoes FROM events WHERE event_id = ?", (event_id,)
    ).fetchone()
    if row is not None and row[1:] != content:
        raise ConflictError(
            f"the event {event_id!r} was {row[1:]}, now {content}: an id is used for one event only"
        )
    return None if row is None else int(row[0])


def _append(db: sqlite3.Connection, event: tuple[str, str, str, str, str | None]) -> int:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    cursor = db.execute(
        "INSERT INTO events (event_id, item, reviewer, kind, undoes, at) VALUES (?, ?, ?, ?, ?, ?)",
        (*event, now),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _make_verdict(row: tuple[str, str, Verdict, int]) -> ValidVerdict:
    return ValidVerdict(event_id=row[0], item=row[1], verdict=row[2], seq=row[3])


def _refuse_network_filesystem(path: Path) -> None:
    """Raise RuntimeEnvironmentError for a network disk: WAL needs shared memory, and would lose data silently there."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return
    entries = [
        line.split()[1:3] for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    ]
    above = [(point, kind) for point, kind in entries if path.is_relative_to(point.replace("\\040", " "))]
    point, kind = max(above, key=lambda entry: len(entry[0]), default=("/", ""))
    if kind in _NETWORK_FILESYSTEMS or kind.startswith("fuse.sshfs"):
        raise RuntimeEnvironmentError(
            f"{path} is on {kind} ({point}): keep verdicts on a local disk and copy them later"
        )
