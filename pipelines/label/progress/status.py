"""How an output is, for who watches: its newest snapshot, and what the last run said of itself, with its age.

Promise: the units and samples are the snapshot's; what a run says of itself is shown beside them, never mixed in, and
a driver that fell silent is said to be silent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from engine.ledger.snapshots.status import status_of
from engine.settings import RunSettings
from engine.storage.store import Store, open_store
from pipelines.label.progress.record import ENDED, newest_progress
from pipelines.label.rejection_limit import judge

SILENT_BEATS = 6
GIVE_UP_S = 300.0


def look(
    url: str, store: Store | None = None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> dict[str, Any]:
    """The summary of docs/interfaces.md, `judged`, and `progress`: what the last run said, or null.

    Raises NotFoundError.
    """
    store = store or open_store(url)
    told = newest_progress(store)
    summary = status_of(store)
    limit = (RunSettings() if told is None else told.settings).max_rejected
    summary["judged"] = judge(summary, limit).data()
    if told is None:
        return {**summary, "progress": None}
    heard_s = max((now() - datetime.fromisoformat(told.written_at)).total_seconds(), 0.0)
    silent = told.state not in ENDED and heard_s > SILENT_BEATS * told.every_s
    said = told.model_dump(mode="json") | {"heard_s_ago": round(heard_s, 1), "silent": silent}
    return {**summary, "progress": said}


def watch(
    url: str,
    every_s: float,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Iterator[dict[str, Any]]:
    """Looks, again and again, until the run has ended or was silent for five minutes, or there never was one."""
    store = open_store(url)
    while True:
        found = look(url, store, now)
        yield found
        if has_ended(found):
            return
        sleep(every_s)


def has_ended(found: dict[str, Any]) -> bool:
    """Whether there is nothing more to wait for."""
    said = found["progress"]
    return said is None or said["state"] in ENDED or said["heard_s_ago"] > GIVE_UP_S
