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
from contextlib import contextmanager, suppress

from engine.storage.retry import run_with_retries
from engine.storage.store import Store
from schemas.errors import RuntimeEnvironmentError

log = logging.getLogger(__name__)
CREATORS = 8


def check_store(store: Store, single_writer: bool = False) -> None:
    """Write a few small objects and delete them again, for which it needs the right to.

    single_writer: accept a store that ignores conditions, with a warning; then only one run may ever write there
    raises:        RuntimeEnvironmentError that names what the store gets wrong, or which right is missing, and the
                   remedy
    """
    # not in a folder: a disk would keep the empty folder
    names = [f"self-test-{secrets.token_hex(8)}-{name}" for name in ("twice", "empty", "race")]
    with _deleted_after(store, names):
        lies = list(_lies(store, *names))
    if not lies:
        return
    if not single_writer:
        raise RuntimeEnvironmentError(
            f"{store.url}: {'; '.join(lies)}. Two runs could both commit a unit there. Use a store that honours "
            "conditional writes (a local disk, AWS S3, a MinIO or Ceph of 2025 or later), or set run.single_writer: "
            "true and never let two runs write to this output"
        )
    log.warning("%s: %s; run.single_writer is set: start no second run on it", store.url, "; ".join(lies))


@contextmanager
def _deleted_after(store: Store, names: list[str]) -> Iterator[None]:
    """Nothing of those names is left after the block; an error in it is raised before one of the deletions."""
    try:
        yield
    except BaseException as error:
        # out of reach after all tries: to clean up, one more is enough
        tries = _once if isinstance(error, OSError) else run_with_retries
        with suppress(OSError, RuntimeEnvironmentError):
            _delete(store, names, tries)
        raise
    _delete(store, names, run_with_retries)


def _once(action: Callable[[], None]) -> None:
    action()


def _delete(store: Store, names: list[str], tries: Callable[[Callable[[], None]], None]) -> None:
    for name in names:
        try:
            tries(functools.partial(store.delete, name))
        except RuntimeEnvironmentError as error:
            raise RuntimeEnvironmentError(
                f"{store.url}/{name}: the self-test wrote it and may not delete it ({error}). Allow deletion under "
                "this prefix (s3:DeleteObject, storage.objects.delete), which `clean` needs too, and delete "
                f"self-test-* there"
            ) from error


def _lies(store: Store, twice: str, empty: str, race: str) -> Iterator[str]:
    """What the store does otherwise than it must."""
    for name, first, what in ((twice, b"first", "an object"), (empty, b"", "an empty object")):
        _create_first(store, name, first)
        if _put(store, name, b"second") or store.read(name) != first:
            yield f"{what} that exists was created a second time (it ignores If-None-Match)"
    bodies = [str(number).encode() for number in range(CREATORS)]
    with ThreadPoolExecutor(CREATORS) as threads:
        created = list(threads.map(lambda body: _put(store, race, body), bodies))
    # none may have heard that it won, where an answer was lost; what stands decides
    if created.count(True) > 1 or (any(created) and store.read(race) != bodies[created.index(True)]):
        yield f"{created.count(True)} of {CREATORS} that created one object at the same time succeeded"
    if store.list(twice) != [twice]:
        yield "a listing does not show what was just written"


def _create_first(store: Store, name: str, data: bytes) -> None:
    """Create a new object. Raises RuntimeEnvironmentError when it does not stand there afterwards."""
    if not _put(store, name, data) and store.read(name) != data:
        raise RuntimeEnvironmentError(
            f"{store.url}/{name} could not be created although it is new; check that only Groundswell writes there"
        )


def _put(store: Store, name: str, data: bytes) -> bool:
    """Whether the object was created, tried again in passing trouble as a commit is."""
    return run_with_retries(lambda: store.put_if_absent(name, data))
