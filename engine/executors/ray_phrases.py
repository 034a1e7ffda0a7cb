"""Phrase finders on Ray CPU actors: chunks of captions in, their phrases out, in the order of the chunks.

The phrases are those of one process, whatever the number of actors. The number of chunks in flight is bounded. An
actor's death costs its chunk one retry. A second death ends the work with an error that names the captions.
docs/decisions/0009-an-own-pool-of-phrase-actors.md says why this is not `ray.util.ActorPool`.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Protocol, cast

import ray
from ray import ObjectRef
from ray.actor import ActorClass
from ray.exceptions import RayActorError, RayTaskError

from engine.executors.ray_actor_handle import first_line
from engine.executors.ray_cluster import cluster, cluster_resources, free_resources
from engine.task import Factory
from engine.worker.import_check import WORKER_PACKAGES, check_packages, package_root
from schemas.errors import RuntimeEnvironmentError
from schemas.labeler import FoundPhrases, PhraseFinder

log = logging.getLogger(__name__)
CHUNKS_PER_ACTOR = 2  # one is worked on, one waits in the actor
MAX_TRIES = 2
PLACEMENT_TIMEOUT_S = 60.0
Origins = dict[str, str | None]
"""Package -> file that it is imported from."""


class _LookMethod(Protocol):
    def remote(self, names: tuple[str, ...]) -> ObjectRef[Origins]: ...


class _FindMethod(Protocol):
    def remote(self, captions: list[str]) -> ObjectRef[list[FoundPhrases]]: ...


class _PhraseHandle(Protocol):
    """Ray's handle of an actor of the class that `_make_actor_class` returns."""

    describe_placement: _LookMethod
    find: _FindMethod


@dataclass
class _Chunk:
    """A chunk in flight. `first` is the number of its first caption, from 1; `slot` the number of its actor."""

    captions: Sequence[str]
    first: int
    slot: int
    handle: _PhraseHandle
    answer: ObjectRef[list[FoundPhrases]]
    tries: int = 1


def find_phrases_in_order(
    factory: Factory,
    chunks: Iterable[Sequence[str]],
    actors: int,
    address: str | None = None,
    cpus_per_actor: float = 1,
    placement_timeout_s: float = PLACEMENT_TIMEOUT_S,
) -> Iterator[tuple[Sequence[str], list[FoundPhrases]]]:
    """Yield each chunk with its phrases, in order. Chunks are drawn no faster than they are answered.

    factory: how an actor makes its phrase finder
    raises:  RuntimeEnvironmentError if actors find no place, or two die of the same chunk; what the finder raises
    """
    with cluster(address):
        pool = _PhraseActors(factory, actors, cpus_per_actor)
        try:
            pool.wait_for_placement(placement_timeout_s)
            yield from pool.find(chunks)
        finally:
            pool.close()


class _PhraseActors:
    def __init__(self, factory: Factory, actors: int, cpus_per_actor: float) -> None:
        self._actor_class: ActorClass[_PhraseHandle] = ray.remote(_make_actor_class())
        self._factory = factory
        self._cpus = cpus_per_actor
        self._handles = [self._start() for _ in range(actors)]

    def wait_for_placement(self, timeout_s: float) -> None:
        """Return when all actors are placed and import our code."""
        looks = [handle.describe_placement.remote(WORKER_PACKAGES) for handle in self._handles]
        placed, waiting = ray.wait(looks, num_returns=len(looks), timeout=timeout_s)
        if waiting:
            raise RuntimeEnvironmentError(self._explain_placement(len(placed), timeout_s))
        for origins in ray.get(looks):
            check_packages(origins, package_root(), "a Ray worker")

    def find(self, chunks: Iterable[Sequence[str]]) -> Iterator[tuple[Sequence[str], list[FoundPhrases]]]:
        """Yield answers in order. Chunks go to the actors in turn, so the next answer comes from the next actor."""
        in_flight: deque[_Chunk] = deque()
        count = 0
        for number, captions in enumerate(chunks):
            in_flight.append(self._submit(captions, count + 1, number % len(self._handles)))
            count += len(captions)
            if len(in_flight) == CHUNKS_PER_ACTOR * len(self._handles):
                yield self._wait(in_flight.popleft())
        while in_flight:
            yield self._wait(in_flight.popleft())

    def close(self) -> None:
        """End the actors."""
        for handle in self._handles:
            ray.kill(cast("ray.actor.ActorHandle[_PhraseHandle]", handle))

    def _start(self) -> _PhraseHandle:
        resources = self._actor_class.options(num_cpus=self._cpus, max_restarts=0, max_task_retries=0)
        return cast(_PhraseHandle, resources.remote(self._factory.model_dump_json()))

    def _submit(self, captions: Sequence[str], first: int, slot: int, tries: int = 1) -> _Chunk:
        handle = self._handles[slot]
        return _Chunk(captions, first, slot, handle, handle.find.remote(list(captions)), tries)

    def _wait(self, chunk: _Chunk) -> tuple[Sequence[str], list[FoundPhrases]]:
        while True:
            try:
                # Ray reports dead workers on stdout, which is for our data
                with redirect_stdout(sys.stderr):
                    return chunk.captions, ray.get(chunk.answer)
            except RayTaskError as error:
                raise error.cause from None
            except RayActorError as error:
                chunk = self._resubmit(chunk, first_line(error))

    def _resubmit(self, chunk: _Chunk, reason: str) -> _Chunk:
        last = chunk.first + len(chunk.captions) - 1
        if chunk.tries == MAX_TRIES:
            raise RuntimeEnvironmentError(
                f"captions {chunk.first} to {last}: {MAX_TRIES} phrase actors died, last error: {reason}; rerun these "
                "captions with --actors 0 to find the caption"
            )
        log.warning("a phrase actor died at captions %d to %d: %s", chunk.first, last, reason)
        if self._handles[chunk.slot] is chunk.handle:
            self._handles[chunk.slot] = self._start()
        return self._submit(chunk.captions, chunk.first, chunk.slot, chunk.tries + 1)

    def _explain_placement(self, placed: int, timeout_s: float) -> str:
        total, free = cluster_resources().get("CPU", 0), free_resources().get("CPU", 0)
        return (
            f"only {placed} of {len(self._handles)} phrase actors started within {timeout_s:.0f} s. Each needs "
            f"{self._cpus:g} CPU; the cluster has {total:g}, of which {free:g} are free. Request fewer actors, or add "
            "nodes"
        )


def _make_actor_class() -> type:
    """Return the class of phrase actors. It is local, so it is sent by value and can check our packages first."""

    class PhraseActor:
        def __init__(self, factory_json: str) -> None:
            self._factory_json = factory_json
            self._finder: PhraseFinder | None = None

        def describe_placement(self, names: tuple[str, ...]) -> Origins:
            """Return where this actor imports packages from."""
            import importlib.util

            specs = {name: importlib.util.find_spec(name) for name in names}
            return {name: spec.origin if spec else None for name, spec in specs.items()}

        def find(self, captions: list[str]) -> list[FoundPhrases]:
            """Return the phrases of captions. The finder is made with the first ones."""
            from engine.task import Factory
            from engine.worker.loading import make_finder

            if self._finder is None:
                self._finder = make_finder(Factory.model_validate_json(self._factory_json))
            return self._finder.find(captions)

    return PhraseActor
