"""One store, many processes, one seed: every store operation is a point where another process may run.

Processes are greenlets that run the real code. Each operation passes control to a scheduler that draws, from the seed
alone, which process continues and what happens to the operation. One seed gives one history.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

from greenlet import GreenletExit, greenlet

from engine.storage.store import Store
from schemas.errors import NotFoundError

T = TypeVar("T")
WRITES = ("put", "put_if_absent", "delete")


class Fate(Enum):
    """What happens to a store operation."""

    HAPPENS = "happens"
    FAILS = "fails before it happens"
    LOSES_ITS_ANSWER = "happens, but the caller sees an error"
    IS_REPEATED = "happens twice, as s3fs does when it misses the first answer"
    DIES_BEFORE = "the process dies before it"
    DIES_AFTER = "the process dies after it"


class Violation(AssertionError):
    """A broken promise of the ledger."""


@dataclass(eq=False)
class Process:
    """One process: alive until it dies or returns, ready if it waits for nothing."""

    name: str
    run: greenlet
    ready: Callable[[], bool] = lambda: True
    alive: bool = True
    frozen_until: int = 0


@dataclass
class Weather:
    """How rough a history is. Shares are per operation."""

    faults: int = 6
    fault_share: float = 0.05
    freeze_share: float = 0.02
    stickiness: float = 0.5
    torn_listings: float = 0.3


@dataclass
class World:
    """The objects, the processes and the scheduler."""

    seed: int
    weather: Weather = field(default_factory=Weather)
    objects: dict[str, bytes] = field(default_factory=dict)
    watch: Callable[[str, bytes | None, bytes | None], None] | None = None
    died: Callable[[Process], None] | None = None
    processes: list[Process] = field(default_factory=list)
    trace: list[tuple[str, str, str, str]] = field(default_factory=list)
    steps: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._scheduler = greenlet.getcurrent()
        self._current: Process | None = None

    def spawn(self, name: str, action: Callable[[], None]) -> Process:
        """Create a process; it runs when the scheduler picks it."""
        process = Process(name, greenlet(action))
        self.processes.append(process)
        return process

    def run(self) -> None:
        """Run the processes until all have ended or wait for dead ones."""
        while ready := [process for process in self.processes if process.alive and process.ready()]:
            process = self._next(ready)
            self._current = process
            process.run.switch()
            if process.run.dead:
                self._bury(process)

    @property
    def running(self) -> str:
        """Return the name of the process that runs this operation."""
        return self._running().name

    def steps_of(self, name: str) -> Iterator[tuple[int, str]]:
        """Return number and kind of a process's operations, the latest first."""
        for number in range(len(self.trace), 0, -1):
            if self.trace[number - 1][0] == name:
                yield number, self.trace[number - 1][1]

    def wait(self, ready: Callable[[], bool]) -> None:
        """Wait inside a process until the condition is true. Nothing fails here."""
        process = self._running()
        process.ready = ready
        self._scheduler.switch()
        process.ready = _always

    def operation(self, kind: str, path: str, effect: Callable[[], T]) -> T:
        """Do one operation on the store inside a process, with whatever happens to it."""
        process = self._running()
        self._scheduler.switch()
        fate = self._fate(kind)
        self.steps += 1
        self.trace.append((process.name, kind, path, fate.value))
        if fate is Fate.DIES_BEFORE:
            self._die(process)
        if fate is Fate.FAILS:
            raise ConnectionError(f"{kind} {path} failed")
        result = effect()
        if fate is Fate.DIES_AFTER:
            self._die(process)
        if fate is Fate.LOSES_ITS_ANSWER:
            raise TimeoutError(f"the answer of {kind} {path} was lost")
        return effect() if fate is Fate.IS_REPEATED else result

    def change(self, path: str, data: bytes | None) -> None:
        """Set or delete an object, and let the watch check it."""
        before = self.objects.get(path)
        if data is None:
            self.objects.pop(path, None)
        else:
            self.objects[path] = data
        if self.watch is not None:
            self.watch(path, before, data)

    def _running(self) -> Process:
        process = self._current
        assert process is not None
        if not process.alive:  # `finally` of a dead process: nothing of it reaches the store
            raise GreenletExit
        return process

    def _die(self, process: Process) -> None:
        process.alive = False
        raise GreenletExit

    def _bury(self, process: Process) -> None:
        self.processes.remove(process)
        killed, process.alive = not process.alive, False
        if killed and self.died is not None:
            self.died(process)

    def _next(self, ready: list[Process]) -> Process:
        awake = [process for process in ready if process.frozen_until <= self.steps] or ready
        draw = self.random.random
        if self._current in awake and draw() < self.weather.stickiness:
            return self._current
        process = awake[int(draw() * len(awake))]
        if draw() < self.weather.freeze_share:
            process.frozen_until = self.steps + int(draw() * 60)
        return process

    def _fate(self, kind: str) -> Fate:
        weather = self.weather
        share = weather.fault_share * (2 if kind in WRITES else 0.5)
        if weather.faults <= 0 or self.random.random() >= share:
            return Fate.HAPPENS
        weather.faults -= 1
        fates = _OF_WRITES if kind in WRITES else _OF_READS
        return fates[int(self.random.random() * len(fates))]


class SimulatedStore(Store):
    """The world's objects as a Store; `quiet` operations are not steps (for the watch and for preparing)."""

    def __init__(self, world: World, quiet: bool = False) -> None:
        self.url, self.storage = "sim://output", None
        self.world, self.quiet = world, quiet

    def read(self, path: str) -> bytes:
        return self._do("read", path, lambda: self._standing(path))

    def put_if_absent(self, path: str, data: bytes) -> bool:
        return self._do("put_if_absent", path, lambda: self._create(path, data))

    def put(self, path: str, data: bytes) -> None:
        self._do("put", path, lambda: self.world.change(path, data))

    def list(self, prefix: str) -> list[str]:
        first = self._do("list", prefix, lambda: self._under(prefix))
        if self.quiet or self.world.random.random() >= self.world.weather.torn_listings or not first:
            return first
        # a listing takes time: what comes after the pivot is seen later than what comes before
        pivot = self.world.random.choice(first)
        later = self._do("list", prefix, lambda: self._under(prefix))
        return [name for name in first if name < pivot] + [name for name in later if name >= pivot]

    def exists(self, path: str) -> bool:
        return self._do("exists", path, lambda: path in self.world.objects)

    def size(self, path: str) -> int:
        return self._do("size", path, lambda: len(self._standing(path)))

    def delete(self, path: str) -> None:
        self._do("delete", path, lambda: self.world.change(path, None))

    def _do(self, kind: str, path: str, effect: Callable[[], T]) -> T:
        return effect() if self.quiet else self.world.operation(kind, path, effect)

    def _standing(self, path: str) -> bytes:
        try:
            return self.world.objects[path]
        except KeyError:
            raise NotFoundError(f"{path} does not exist") from None

    def _create(self, path: str, data: bytes) -> bool:
        if path in self.world.objects:
            return False
        self.world.change(path, data)
        return True

    def _under(self, prefix: str) -> list[str]:
        folder = f"{prefix}/" if prefix else ""
        return sorted(path for path in self.world.objects if path.startswith(folder))


def _always() -> bool:
    return True


_OF_READS: tuple[Fate, ...] = (Fate.FAILS, Fate.FAILS, Fate.DIES_BEFORE)
_OF_WRITES: tuple[Fate, ...] = (
    Fate.FAILS,
    Fate.LOSES_ITS_ANSWER,
    Fate.IS_REPEATED,
    Fate.DIES_BEFORE,
    Fate.DIES_AFTER,
)
