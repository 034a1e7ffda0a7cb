"""Garbage collection after publishes removes exactly the files that their version does not name once it exists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.ledger.garbage import collect_garbage
from engine.ledger.snapshots import segments
from engine.ledger.snapshots.segments import write_segment
from engine.ledger.snapshots.snapshots import read_snapshot, snapshot_entries, snapshot_versions
from engine.storage.store import Store, open_store
from tests.engine.ledger.test_segments import entries, plan_of
from tests.engine.worlds import publish


class Beaten(Store):
    """Runs an action just before the first snapshot is put, or the first segment is read."""

    def __init__(self, url: str, before: str, act: Callable[[], object]) -> None:
        super().__init__(url)
        self._before, self._act = before, [act]

    def put_if_absent(self, path: str, data: bytes) -> bool:
        self._happens("snapshots/", path)
        return super().put_if_absent(path, data)

    def size(self, path: str) -> int:
        self._happens("segments/", path)
        return super().size(path)

    def _happens(self, what: str, path: str) -> None:
        if what == self._before and path.startswith(what) and self._act:
            self._act.pop()()


def units_of_all_versions(store: Store) -> list[int]:
    """Return how many units each version lists, all of them read."""
    versions = snapshot_versions(store)
    return [sum(1 for _ in snapshot_entries(store, read_snapshot(store, version))) for version in versions]


@pytest.mark.parametrize("before", ["snapshots/", "segments/"])
@pytest.mark.parametrize("collects", [False, True])
def test_what_lost_a_race_to_publish_is_collected_and_the_loser_comes_next(
    tmp_path: Path, before: str, collects: bool
) -> None:
    store, known = open_store(str(tmp_path)), entries(plan_of())

    def rival() -> None:
        publish(store, plan_of(), known[:2], [])
        if collects:
            collect_garbage(store)

    publish(Beaten(str(tmp_path), before, rival), plan_of(), known[:5], [])

    collect_garbage(store)
    named = {each.path for version in (1, 2) for each in read_snapshot(store, version).segments}
    assert units_of_all_versions(store) == [2, 5]
    assert set(store.list("segments")) == named


def test_a_segment_whose_version_is_still_to_come_is_left(tmp_path: Path) -> None:
    store, known = open_store(str(tmp_path)), entries(plan_of())
    publish(store, plan_of(), known[:1], [])
    coming = write_segment(store, known[1:2], 2)
    store.put(f"segments/{'a' * 16}.parquet", b"of an earlier version of this program")

    collected = collect_garbage(store)

    assert (collected.deleted, collected.undecided, collected.foreign) == ((), 1, 1)
    assert store.exists(coming.path)


def test_what_was_merged_away_at_once_goes_and_older_versions_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "FAN_OUT", 2)
    store, known = open_store(str(tmp_path)), entries(plan_of())
    for number in range(4):
        publish(store, plan_of(), known[number : number + 1], [])

    deleted = collect_garbage(store).deleted

    assert len(deleted) == 3 and all(path.startswith("segments/") for path in deleted)
    assert units_of_all_versions(store) == [1, 2, 3, 4]
    assert collect_garbage(store).deleted == ()
