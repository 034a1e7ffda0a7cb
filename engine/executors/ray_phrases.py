"""Phrase finders on Ray CPU actors: chunks of captions in, what was found out, in the order of the question.

Promise: the answers of one process, whatever the number of actors; a bounded number of chunks is under way; an actor's
death costs its chunk one more try, a second death ends the work with an error that names the captions.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from engine.executors.ray_cluster import cluster
from engine.task import Factory
from engine.worker.import_check import ROOMS, check_rooms, package_root
from schemas.errors import RuntimeEnvironmentError
from schemas.labeler import FoundPhrases

log = logging.getLogger(__name__)
CHUNKS_PER_ACTOR = 2  # one is worked on, one waits beside it
MAX_TRIES = 2
PLACEMENT_TIMEOUT_S = 60.0


@dataclass
class _Asked:
    """A chunk that is under way; `first` is the number of its first caption, from 1."""

    captions: Sequence[str]
    first: int
    place: int
    handle: Any
    answer: Any
    tries: int = 1


def found_in_order(
    factory: Factory,
    chunks: Iterable[Sequence[str]],
    actors: int,
    address: str | None = None,
    cpus_per_actor: float = 1,
    placement_timeout_s: float = PLACEMENT_TIMEOUT_S,
) -> Iterator[tuple[Sequence[str], list[FoundPhrases]]]:
    """Each chunk with what was found in it, in order; chunks are drawn no faster than they are answered.

    factory: how an actor makes its phrase finder
    raises:  RuntimeEnvironmentError when actors find no place, or two die of the same chunk; what the finder raises
    """
    with cluster(address):
        pool = _Finders(factory, actors, cpus_per_actor)
        try:
            pool.wait_for_place(placement_timeout_s)
            yield from pool.found(chunks)
        finally:
            pool.close()


class _Finders:
    def __init__(self, factory: Factory, actors: int, cpus_per_actor: float) -> None:
        remote: Any = ray.remote
        self._remote, self._factory = remote(_finder_class()), factory
        self._cpus = cpus_per_actor
        self._handles = [self._start() for _ in range(actors)]

    def wait_for_place(self, timeout_s: float) -> None:
        """Return when all actors are placed and run our code."""
        looks = [handle.look.remote(ROOMS) for handle in self._handles]
        placed, waiting = ray.wait(looks, num_returns=len(looks), timeout=timeout_s)
        if waiting:
            raise RuntimeEnvironmentError(self._arithmetic(len(placed), timeout_s))
        for origins in ray.get(placed):
            check_rooms(origins, package_root(), "a Ray worker")

    def found(self, chunks: Iterable[Sequence[str]]) -> Iterator[tuple[Sequence[str], list[FoundPhrases]]]:
        """Answers in order. Chunks go to the actors in turn: the next one is always with who answers first."""
        under_way: deque[_Asked] = deque()
        count = 0
        for number, captions in enumerate(chunks):
            place = number % len(self._handles)
            under_way.append(self._asked(captions, count + 1, place))
            count += len(captions)
            if len(under_way) == CHUNKS_PER_ACTOR * len(self._handles):
                yield self._answered(under_way.popleft())
        while under_way:
            yield self._answered(under_way.popleft())

    def close(self) -> None:
        """Let the actors go."""
        for handle in self._handles:
            ray.kill(handle)

    def _start(self) -> Any:
        options = {"num_cpus": self._cpus, "max_restarts": 0, "max_task_retries": 0}
        return self._remote.options(**options).remote(self._factory.model_dump_json())

    def _asked(self, captions: Sequence[str], first: int, place: int, tries: int = 1) -> _Asked:
        handle = self._handles[place]
        return _Asked(captions, first, place, handle, handle.find.remote(list(captions)), tries)

    def _answered(self, asked: _Asked) -> tuple[Sequence[str], list[FoundPhrases]]:
        while True:
            try:
                with redirect_stdout(
                    sys.stderr
                ):  # Ray tells of dead workers on stdout, which is for our data
                    return asked.captions, ray.get(asked.answer)
            except RayTaskError as error:
                raise error.cause from None
            except RayActorError as error:
                asked = self._asked_again(asked, str(error).strip().split("\n", 1)[0])

    def _asked_again(self, asked: _Asked, reason: str) -> _Asked:
        last = asked.first + len(asked.captions) - 1
        if asked.tries == MAX_TRIES:
            raise RuntimeEnvironmentError(
                f"captions {asked.first} to {last}: {MAX_TRIES} phrase actors died of them, the last one so: {reason}; "
                "give them to one process (without actors) to see which"
            )
        log.warning("a phrase actor died at captions %d to %d: %s", asked.first, last, reason)
        if self._handles[asked.place] is asked.handle:
            self._handles[asked.place] = self._start()
        return self._asked(asked.captions, asked.first, asked.place, asked.tries + 1)

    def _arithmetic(self, placed: int, timeout_s: float) -> str:
        known: Any = ray  # its resource functions carry no types
        have, free = known.cluster_resources().get("CPU", 0), known.available_resources().get("CPU", 0)
        return (
            f"{placed} of {len(self._handles)} phrase actors found a place in {timeout_s:.0f} s. Each asks for "
            f"{self._cpus:g} CPU; the cluster has {have:g}, free are {free:g}. Ask for fewer actors, or add nodes"
        )


def _finder_class() -> type:
    """The actor's class, local on purpose: it is sent whole and can look for our rooms before it imports any."""

    class PhraseActor:
        def __init__(self, factory_json: str) -> None:
            self._factory_json = factory_json
            self._finder: Any = None

        def look(self, names: tuple[str, ...]) -> dict[str, str | None]:
            """Where the rooms would come from."""
            import importlib.util

            specs = {name: importlib.util.find_spec(name) for name in names}
            return {name: spec.origin if spec else None for name, spec in specs.items()}

        def find(self, captions: list[str]) -> object:
            """What the finder says of them; it is made with the first."""
            from engine.task import Factory
            from engine.worker.loading import make

            if self._finder is None:
                self._finder = make(Factory.model_validate_json(self._factory_json))
            return self._finder.find(captions)

    return PhraseActor
