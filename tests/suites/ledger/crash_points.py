"""Kill a process at every source line of commit, attempt, publish, epoch and collection; then finish the job.

    python -m tests.suites.ledger.crash_points               every line of all four stories
    python -m tests.suites.ledger.crash_points --every 10    every tenth line
    python -m tests.suites.ledger.crash_points --plant --within planted        a planted mistake, which must be found

A child traces its own lines in the ledger, the store and the local files, and kills itself before the n-th. Every line
that the undisturbed child executed is tried the first two times that it is executed, and the last time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

import engine
from engine.driver.label_run import LabelRun
from engine.ledger.commits import commit_unit
from engine.ledger.garbage import collect_garbage
from engine.ledger.shard_facts import record_facts
from engine.storage.store import Store, open_store
from tests.suites.ledger import planted
from tests.suites.ledger.children import find_fast_folder, fork, run_in_child, wait_for_exit
from tests.suites.ledger.tiny_job import PROVENANCE, TinyJob
from tests.suites.ledger.tiny_run import check_whole, done, finish, run

JOB = TinyJob((3, 2))
ENGINE = os.path.dirname(str(engine.__file__))
TRACED = (
    *(os.path.join(ENGINE, "storage", name) for name in ("store.py", "retry.py", "local_files.py")),
    os.path.join(ENGINE, "ledger"),
    str(planted.__file__),
)


class LineKiller:
    """Counts the executed lines of traced files, and kills the process before the n-th."""

    def __init__(self, die_at: int | None) -> None:
        self.lines: list[str] = []
        self._die_at = die_at

    def run(self, action: Callable[[], None]) -> list[str]:
        """Run the action; return the lines that it executed."""
        threading.settrace(self._call)
        sys.settrace(self._call)
        try:
            action()
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]
        return self.lines

    def _call(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._line if frame.f_code.co_filename.startswith(TRACED) else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self.lines.append(f"{os.path.relpath(frame.f_code.co_filename, ENGINE)}:{frame.f_lineno}")
            if len(self.lines) - 1 == self._die_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return self._line


class Story:
    """An action on an output that is in a certain state before."""

    def __init__(self, before: Callable[[str], None], action: Callable[[str], None]) -> None:
        self.before, self.action = before, action

    def check(self, folder: Path, every: int, within: str, undisturbed: Any) -> Counter[str]:
        """Die at each point of the files with this name, and check the output after a fresh process finished the job.

        raises: AssertionError that names the line
        """
        ends: Counter[str] = Counter()
        start = folder / "start"
        start.mkdir(parents=True)
        self._child(partial(self.before, str(start)))
        counted = self._copy(start, folder / "counted")
        lines = run_in_child(lambda: LineKiller(None).run(partial(self.action, counted)))
        for die_at in [point for point in points(lines) if within in lines[point]][::every]:
            url = self._copy(start, folder / str(die_at))
            code = wait_for_exit(fork(partial(LineKiller(die_at).run, partial(self.action, url))))
            # look-ups run in threads, so that a run may take a few lines fewer than the counted one
            ends["lived" if code == 0 else "died"] += 1
            assert code in (0, -signal.SIGKILL), f"{url}: ended with {code}; its traceback is above"
            found = run_in_child(partial(_check_finished, url))
            assert found == undisturbed, f"{url}: a death at {lines[die_at]} changed what is there in the end"
            shutil.rmtree(url)
        return ends

    def _copy(self, start: Path, to: Path) -> str:
        shutil.copytree(start, to)
        return str(to)

    def _child(self, action: Callable[[], None]) -> None:
        if code := wait_for_exit(fork(action)):
            raise AssertionError(f"the state before could not be made: a child ended with {code}")


def points(lines: list[str]) -> list[int]:
    """Return the lines to die at: the first two times that each is executed, and the last time."""
    times: dict[str, list[int]] = {}
    for number, line in enumerate(lines):
        times.setdefault(line, []).append(number)
    return sorted({number for numbers in times.values() for number in (*numbers[:2], numbers[-1])})


def _check_finished(url: str) -> dict[str, object]:
    check_whole(url)
    return finish(url, JOB)


def commit_one(url: str) -> None:
    """Do a worker's whole unit: look for a commit, begin an attempt, write the data, commit."""
    store, work = _begin(url)
    task = work.next_task()
    assert task is not None
    done(store, JOB, task, 1, 0)


def read_shards(url: str) -> None:
    """Record the shards' facts, as the state before."""
    store = open_store(url)
    for stat in JOB.stats:
        record_facts(store, stat, JOB.settings, JOB.facts_of(stat.url))


def publish_all(url: str) -> None:
    """Find commits that no snapshot lists, and publish them, as a driver does."""
    _, work = _begin(url)
    work.find_committed()
    work.publish()


def commits_without_snapshot(url: str) -> None:
    """Commit and publish one unit, then commit another one."""
    read_shards(url)
    store, work = _begin(url)
    for _ in range(2):
        work.publish()
        task = work.next_task()
        assert task is not None
        work.settle(done(store, JOB, task, 1, 0))


def collect(url: str) -> None:
    """Clean up: claim an epoch, remove the files that lost and half-written files of dead processes."""
    collect_garbage(open_store(url))


def orphans(url: str) -> None:
    """Leave a decided unit with two losers, an undecided unit with data, and a half-written file of a dead process."""
    read_shards(url)
    store, work = _begin(url)
    work.publish()
    first, second, *_ = work.list_pending()
    for variant in (0, 1, 2):
        commit_unit(store, first, work.plan.parts(first), JOB.label(first, variant), PROVENANCE)
    with suppress(KeyboardInterrupt):
        commit_unit(_NoRecords(url), second, work.plan.parts(second), JOB.label(second), PROVENANCE)
    wait_for_exit(fork(partial(_die_half_way, url)))


STORIES = {
    "commit": Story(read_shards, commit_one),
    "publish": Story(commits_without_snapshot, publish_all),
    "collect": Story(orphans, collect),
    "whole run": Story(lambda url: None, lambda url: run(url, JOB)),
}


class _NoRecords(Store):
    def put_if_absent(self, path: str, data: bytes) -> bool:
        raise KeyboardInterrupt


def _die_half_way(url: str) -> None:
    with patch.object(os, "fsync", lambda handle: os.kill(os.getpid(), signal.SIGKILL)):
        open_store(url).put("data/half/written/file.parquet", b"half")


def _begin(url: str) -> tuple[Store, LabelRun]:
    store = open_store(url)
    work = LabelRun(store, JOB.new_plan(), JOB.settings)
    work.begin(JOB.stats, ())
    return store, work


def main() -> None:
    """Run the command line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--every", type=int, default=1)
    arguments.add_argument("--story", choices=STORIES, help="only this one")
    arguments.add_argument("--within", default="", help="only at lines of files with this in their name")
    arguments.add_argument("--plant", action="store_true", help="create records in place: has to fail")
    asked = arguments.parse_args()
    begun = time.monotonic()
    with find_fast_folder() as folder, planted.records_created_in_place() if asked.plant else nullcontext():
        undisturbed = run_in_child(partial(finish, str(folder / "undisturbed"), JOB))
        found = {
            name: story.check(folder / name, asked.every, asked.within, undisturbed)
            for name, story in STORIES.items()
            if asked.story in (None, name)
        }
    print(json.dumps(found | {"seconds": round(time.monotonic() - begun)}))


if __name__ == "__main__":
    main()
