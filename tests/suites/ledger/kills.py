"""Kill and stop real processes on one output at random moments; then a fresh one finishes their work.

    python -m tests.suites.ledger.kills --kills 400 --zombies 30        prints what was done and found, as JSON

Rivals of two kinds share an output: runs of the job, whose bytes are equal or differ as on a GPU, and clean-ups. The
moments come from a seed. What a process does at that moment does not, so a seed repeats only the kind of a history.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import time
from collections import Counter
from functools import partial
from pathlib import Path

from tests.suites.ledger.children import find_fast_folder, fork, poll_exit, run_in_child, wait_for_exit
from tests.suites.ledger.tiny_job import TinyJob
from tests.suites.ledger.tiny_run import check_whole, clean, finish, records, run

JOB = TinyJob((5, 4, 3, 6) * 6)
Action = partial[None]
RIVALS = 3
KILL_EVERY_S = 0.012
GPU_LIKE = 4


class Rivals:
    """Processes on one output. One of them is killed now and then, until one has done all the work."""

    def __init__(self, url: str, seed: int, variants: int) -> None:
        self.url, self.draw, self.variants = url, random.Random(seed), variants
        self.ends: Counter[str] = Counter()
        self._running: dict[int, str] = {}

    def play(self, kills: int) -> None:
        """Kill this many processes, or fewer if the work is done before."""
        pids = [self._start(self._run()) for _ in range(RIVALS)]
        while self.ends["killed"] < kills and not self.ends["did all the work"]:
            time.sleep(self.draw.expovariate(1 / KILL_EVERY_S))
            at = self.draw.randrange(RIVALS)
            self._kill(pids[at])
            pids[at] = self._start(self._clean_up() if self.draw.random() < 0.2 else self._run())
        for pid in pids:
            self._kill(pid)

    def _run(self) -> Action:
        return partial(run, self.url, JOB, self.variants, self.draw.randrange(2**32))

    def _clean_up(self) -> Action:
        return partial(clean, self.url)

    def _start(self, action: Action) -> int:
        pid = fork(action)
        self._running[pid] = "cleaned up" if action.func is clean else "did all the work"
        return pid

    def _kill(self, pid: int) -> None:
        ending = self._running.pop(pid)
        code = poll_exit(pid)
        if code is None:
            os.kill(pid, signal.SIGKILL)
            code = wait_for_exit(pid)
        if code not in (0, -signal.SIGKILL):
            raise AssertionError(f"{self.url}: a process ended with {code}; its traceback is above")
        self.ends["killed" if code else ending] += 1


def kill_many(folder: Path, kills: int, seed: int) -> dict[str, int]:
    """Run rounds of rivals until this many were killed; return what was found.

    Raises AssertionError for anything lost or torn.
    """
    counts: Counter[str] = Counter()
    undisturbed = run_in_child(partial(finish, str(folder / "undisturbed"), JOB))
    while counts["killed"] < kills:
        url = str(folder / f"round-{counts['rounds']}")
        variants = (1, GPU_LIKE)[counts["rounds"] % 2]
        rivals = Rivals(url, seed + counts["rounds"], variants)
        rivals.play(kills - counts["killed"])
        if wait_for_exit(fork(partial(check_whole, url))):
            raise AssertionError(f"{url} is not whole after its kills")
        found = run_in_child(partial(finish, url, JOB))
        if variants == 1:
            assert found == undisturbed, f"{url}: rows or bytes are not those of an undisturbed run"
            counts["rounds with equal bytes"] += 1
        counts["rounds"] += 1
        counts["killed"] += rivals.ends["killed"]
    return dict(counts)


def wake_zombies(folder: Path, zombies: int, seed: int) -> dict[str, int]:
    """Stop a run, let another finish the job, then continue the first: it must not change any record."""
    counts, draw = Counter[str](), random.Random(seed)
    while counts["zombies"] < zombies:
        url = str(folder / f"zombie-{counts['tried']}")
        counts["tried"] += 1
        pid = fork(partial(run, url, JOB, GPU_LIKE, draw.randrange(2**32)))
        time.sleep(draw.random() * 0.08)
        if poll_exit(pid) is not None:
            continue
        os.kill(pid, signal.SIGSTOP)
        if wait_for_exit(fork(partial(run, url, JOB, GPU_LIKE, draw.randrange(2**32)))):
            raise AssertionError(f"{url}: the run beside a stopped one failed")
        before = run_in_child(partial(records, url))
        os.kill(pid, signal.SIGCONT)
        code = wait_for_exit(pid)
        after = run_in_child(partial(records, url))
        assert code == 0 and after == before, (
            f"{url}: a zombie ended with {code} and changed {_changed(before, after)}"
        )
        run_in_child(partial(finish, url, JOB))
        counts["zombies"] += 1
    return dict(counts)


def _changed(before: dict[str, str], after: dict[str, str]) -> list[str]:
    return sorted(path for path in before | after if before.get(path) != after.get(path))


def main() -> None:
    """Run the command line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--kills", type=int, default=400)
    arguments.add_argument("--zombies", type=int, default=30)
    arguments.add_argument("--seed", type=int, default=0)
    asked = arguments.parse_args()
    begun = time.monotonic()
    with find_fast_folder() as folder:
        found = kill_many(folder, asked.kills, asked.seed) | wake_zombies(folder, asked.zombies, asked.seed)
    print(json.dumps(found | {"seconds": round(time.monotonic() - begun)}))


if __name__ == "__main__":
    main()
