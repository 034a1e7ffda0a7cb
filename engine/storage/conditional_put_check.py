"""Check that an output's store honors conditional writes, on which the commit protocol depends.

A store that lets two writers create one object is refused before anything is committed to it. A check leaves no object
behind.
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
    """Write a few small objects and delete them again; this needs the right to delete.

    single_writer: accept a store that ignores conditions, with a warning; then only one run may ever write there
    raises:        RuntimeEnvironmentError that names the violated promise or the missing right, and the remedy
    """
    # not in a folder: a disk would keep the empty folder
    names = [f"self-test-{secrets.token_hex(8)}-{name}" for name in ("twice", "empty", "race")]
    with _delete_after(store, names):
        violations = list(_find_violations(store, *names))
    if not violations:
        return
    if not single_writer:
        raise RuntimeEnvironmentError(
            f"{store.url}: {'; '.join(violations)}. Two runs could both commit a unit there. Use a store that honors "
            "conditional writes (a local disk, AWS S3, a MinIO or Ceph of 2025 or later), or set run.single_writer: "
            "true and never let two runs write to this output"
        )
    log.warning(
        "%s: %s; run.single_writer is set: start no second run on it", store.url, "; ".join(violations)
    )


@contextmanager
def _delete_after(store: Store, names: list[str]) -> Iterator[None]:
    """Delete the objects of these names after the block; an error of the block hides one of a deletion."""
    try:
        yield
    except BaseException as error:
        # the store was unreachable in all retries: one more try is enough for the clean-up
        call = _call_once if isinstance(error, OSError) else run_with_retries
        with suppress(OSError, RuntimeEnvironmentError):
            _delete(store, names, call)
        raise
    _delete(store, names, run_with_retries)


def _call_once(action: Callable[[], None]) -> None:
    action()


def _delete(store: Store, names: list[str], call: Callable[[Callable[[], None]], None]) -> None:
    for name in names:
        try:
            call(functools.partial(store.delete, name))
        except RuntimeEnvironmentError as error:
            raise RuntimeEnvironmentError(
                f"{store.url}/{name}: the self-test wrote it and may not delete it ({error}). Allow deletion under "
                "this prefix (s3:DeleteObject, storage.objects.delete), which `clean` needs too, and delete "
                f"self-test-* there"
            ) from error


def _find_violations(store: Store, twice: str, empty: str, race: str) -> Iterator[str]:
    """Yield each promise that the store breaks, in words."""
    for name, first, what in ((twice, b"first", "an object"), (empty, b"", "an empty object")):
        _create_first(store, name, first)
        if _put(store, name, b"second") or store.read(name) != first:
            yield f"{what} that exists was created a second time (it ignores If-None-Match)"
    bodies = [str(number).encode() for number in range(CREATORS)]
    with ThreadPoolExecutor(CREATORS) as threads:
        created = list(threads.map(lambda body: _put(store, race, body), bodies))
    # an answer may have been lost, so maybe no writer learned that it won: the stored object decides
    if created.count(True) > 1 or (any(created) and store.read(race) != bodies[created.index(True)]):
        yield f"{created.count(True)} of {CREATORS} that created one object at the same time succeeded"
    if store.list(twice) != [twice]:
        yield "a listing does not show what was just written"


def _create_first(store: Store, name: str, data: bytes) -> None:
    """Create a new object. Raises RuntimeEnvironmentError if another object has the name afterwards."""
    if not _put(store, name, data) and store.read(name) != data:
        raise RuntimeEnvironmentError(
            f"{store.url}/{name} could not be created although it is new; check that only Groundswell writes there"
        )


def _put(store: Store, name: str, data: bytes) -> bool:
    """Return whether the object was created. Retry transient errors, as a commit does."""
    return run_with_retries(lambda: store.put_if_absent(name, data))
