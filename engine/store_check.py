"""The self-test of an output's store: does it keep the one promise that the commit protocol rests on?

Promise: a store that lets two writers create one object is refused before anything is committed to it, and a check
leaves no object behind.
"""

from __future__ import annotations

import functools
import logging
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from engine.ledger.commits import retried
from engine.storage import Store
from schemas.errors import EnvironmentProblem

log = logging.getLogger(__name__)
CREATORS = 8
T = TypeVar("T")


def check_store(store: Store, single_writer: bool = False) -> None:
    """Write a few small objects and delete them again.

    single_writer: accept a store that ignores conditions, with a warning; then only one run may ever write there
    raises:        EnvironmentProblem that names what the store gets wrong, and the remedy
    """
    # not in a folder: a disk would keep the empty folder
    names = [f"self-test-{secrets.token_hex(8)}-{name}" for name in ("twice", "empty", "race")]
    tries = retried
    try:
        lies = list(_lies(store, *names))
    except OSError:  # out of reach after all tries: to clean up, one more is enough
        tries = _once
        raise
    finally:
        for name in names:
            tries(functools.partial(store.delete, name))
    if not lies:
        return
    if not single_writer:
        raise EnvironmentProblem(
            f"{store.url}: {'; '.join(lies)}. Two runs could both commit a unit there. Use a store that honours "
            "conditional writes (a local disk, AWS S3, a MinIO or Ceph of 2025 or later), or set run.single_writer: "
            "true and never let two runs write to this output"
        )
    log.warning("%s: %s; run.single_writer is set: start no second run on it", store.url, "; ".join(lies))


def _lies(store: Store, twice: str, empty: str, race: str) -> Iterator[str]:
    """What the store does otherwise than it must."""
    for name, first, what in ((twice, b"first", "an object"), (empty, b"", "an empty object")):
        _create_first(store, name, first)
        if _put(store, name, b"second") or _read(store, name) != first:
            yield f"{what} that exists was created a second time (it ignores If-None-Match)"
    bodies = [str(number).encode() for number in range(CREATORS)]
    with ThreadPoolExecutor(CREATORS) as threads:
        created = list(threads.map(lambda body: _put(store, race, body), bodies))
    # none may have heard that it won, where an answer was lost; what stands decides
    if created.count(True) > 1 or (any(created) and _read(store, race) != bodies[created.index(True)]):
        yield f"{created.count(True)} of {CREATORS} that created one object at the same time succeeded"
    if retried(lambda: store.list(twice)) != [twice]:
        yield "a listing does not show what was just written"


def _create_first(store: Store, name: str, data: bytes) -> None:
    """Create a new object. Raises EnvironmentProblem when it does not stand there afterwards."""
    if not _put(store, name, data) and _read(store, name) != data:
        raise EnvironmentProblem(
            f"{store.url}/{name} could not be created although it is new; check that only Groundswell writes there"
        )


def _put(store: Store, name: str, data: bytes) -> bool:
    """Whether the object was created, tried again in passing trouble as a commit is."""
    return retried(lambda: store.put_if_absent(name, data))


def _once(action: Callable[[], T]) -> T:
    return action()


def _read(store: Store, name: str) -> bytes:
    return retried(lambda: store.read(name))
