"""Deterministic simulation of the ledger: rival drivers, their workers, readers, faults drawn from a seed.

It runs the code of `label` and its workers, on a store of which every operation may be the last one.
    python -m tests.suites.ledger.simulation --seeds 20000           all seeds; the first violation ends it
    python -m tests.suites.ledger.simulation --seed 17               one history again, step by step
"""

from __future__ import annotations

import argparse
import logging
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from unittest.mock import patch

from engine.driver import label_run
from engine.ledger import garbage
from engine.ledger.snapshots import segments
from engine.ledger.snapshots.snapshots import latest_snapshot
from engine.storage import retry
from schemas.ledger import Snapshot
from tests.suites.ledger.invariants import Watch, check_end, check_orphans
from tests.suites.ledger.pure import cache_parquet
from tests.suites.ledger.simulated_processes import CleanUp, Driver, Reader
from tests.suites.ledger.simulated_world import Process, SimulatedStore, Violation, Weather, World
from tests.suites.ledger.tiny_job import JOB, OTHER, TinyJob

LONG = 20_000
QUIET = Weather(faults=0, freeze_share=0, torn_listings=0)


@dataclass
class Tally:
    """Counts of what happened in a number of histories."""

    histories: int = 0
    steps: int = 0
    snapshots: int = 0
    collected: int = 0
    fates: Counter[str] = field(default_factory=Counter)

    def add(self, history: History, snapshots: int) -> None:
        """Count one history."""
        self.histories += 1
        self.steps += history.world.steps
        self.snapshots += snapshots
        self.collected += len(set(history.watch.removed))
        self.fates.update(fate for _, _, _, fate in history.world.trace)


class History:
    """One seed: its processes, how rough it is, and what happened."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(f"history {seed}")
        self.world = World(seed, _weather(draw))
        self.watch = Watch(self.world)
        self.world.died = self._mourn
        self.variants = draw.choice((1, 4))  # one: equal bytes whoever labels, as on a CPU
        self._revivals = draw.randrange(4)
        self._drivers: list[Driver] = []
        for _ in range(draw.choice((1, 2, 2, 3, 4))):
            self._driver(draw.choice((1, 1, 2)))
        if draw.random() < 0.2:
            self._driver(1, OTHER)
        for number in range(draw.randrange(3)):
            Reader(self.world, f"reader{number}", 3)
        for number in range(draw.choice((0, 1, 2, 3))):
            CleanUp(self.world, f"cleanup{number}", 2, draw.randrange(120))

    def play(self) -> Snapshot:
        """Run to the end, then once more undisturbed; return what a reader then finds. Raises Violation."""
        self.world.run()
        self.world.weather = QUIET
        self._driver(1)
        self.world.run()
        CleanUp(self.world, "last cleanup")
        self.world.run()
        check_orphans(self.watch)
        return check_end(self.watch, JOB, undisturbed_digest() if self.variants == 1 else None)

    def _driver(self, workers: int, job: TinyJob = JOB) -> None:
        name = f"driver{len(self._drivers)}"
        self._drivers.append(Driver(self.world, name, workers, self.variants, job))

    def _mourn(self, process: Process) -> None:
        for driver in self._drivers:
            if process in driver.workers:
                driver.mourn(process)
                return
        if self._revivals and any(process is driver.process for driver in self._drivers):
            self._revivals -= 1
            self._driver(1)


@cache
def undisturbed_digest() -> str:
    """Return the digest of the rows that one driver produces without faults."""
    world = World(0, QUIET)
    Watch(world)
    Driver(world, "alone", 1, 1)
    world.run()
    return latest_snapshot(SimulatedStore(world, quiet=True)).digest


def play(seed: int, tally: Tally | None = None) -> History:
    """Play one history. Raises Violation, with the seed and the command that plays it again."""
    history = History(seed)
    try:
        snapshot = history.play()
    except Exception as error:
        raise Violation(
            f"seed {seed}: {type(error).__name__}: {error}\n"
            f"again: python -m tests.suites.ledger.simulation --seed {seed}"
        ) from error
    if tally is not None:
        tally.add(history, snapshot.version)
    return history


@contextmanager
def simulate_waits() -> Iterator[None]:
    """Turn waits of the ledger into steps, run look-ups one by one, and silence the log lines of retries."""
    logger = logging.getLogger("engine")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with (
            cache_parquet(),
            patch.object(retry, "wait", lambda seconds: None),
            patch.object(segments, "FAN_OUT", 2),  # so that even these small snapshots merge their segments
            patch.object(garbage, "ThreadPoolExecutor", lambda workers: nullcontext(_InTurn)),
            patch.object(label_run, "map_parallel", lambda look, items: [look(item) for item in items]),
        ):
            yield
    finally:
        logger.setLevel(before)


class _InTurn:
    """A thread pool whose `map` runs one item after the other: greenlets stay in their thread."""

    map = map


def _weather(draw: random.Random) -> Weather:
    return Weather(
        faults=draw.choice((0, 2, 6, 12)),
        fault_share=draw.choice((0.02, 0.05, 0.15)),
        freeze_share=draw.choice((0, 0.02, 0.1)),
        stickiness=draw.choice((0.0, 0.5, 0.9)),
        torn_listings=draw.choice((0, 0.3)),
    )


def main() -> None:
    """Run the command line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--seeds", type=int, default=LONG)
    arguments.add_argument("--first", type=int, default=0)
    arguments.add_argument("--seed", type=int)
    asked = arguments.parse_args()
    with simulate_waits():
        if asked.seed is None:
            _many(asked.first, asked.seeds)
        else:
            _one(asked.seed)


def _many(first: int, count: int) -> None:
    begun, tally = time.monotonic(), Tally()
    for seed in range(first, first + count):
        play(seed, tally)
    print(
        f"{tally.histories} histories, {tally.steps} steps, {tally.snapshots} snapshots, "
        f"{tally.collected} orphans collected, 0 violations"
    )
    print(f"{time.monotonic() - begun:.0f} s; " + ", ".join(f"{n} {f}" for f, n in tally.fates.most_common()))


def _one(seed: int) -> None:
    history = History(seed)
    try:
        history.play()
    finally:
        for number, (name, kind, path, fate) in enumerate(history.world.trace):
            print(f"{number:4} {name:18} {kind:14} {path:60} {fate}")


if __name__ == "__main__":
    main()
