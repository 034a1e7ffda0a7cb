"""Working ahead: an iterable is driven by a thread, a bounded number of items before they are needed.

Promise: the same items in the same order, or the same exception; the threads end with their consumer.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from dataclasses import dataclass
from typing import TypeVar, cast

S = TypeVar("S")
T = TypeVar("T")
_POLL_S = 0.1


@dataclass(frozen=True)
class _End:
    error: BaseException | None


def prefetch(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    """Iterate with up to `depth` items made in advance, e.g. decoding while the teacher runs. It begins at once."""
    return _primed(_made_ahead(items, depth))


def prefetch_map(
    function: Callable[[S], T], items: Iterable[S], depth: int, threads: int
) -> Generator[T, None, None]:
    """`map`, made in advance by `threads` threads; items are drawn by one of them, results keep their order."""
    if threads == 1:
        return prefetch(map(function, items), depth)
    return _primed(_mapped(function, items, depth, threads))


def _primed(made: Iterator[T | None]) -> Generator[T, None, None]:
    next(made)  # begun, so that closing it ends its threads even when nobody ever asks for an item
    return cast(Generator[T, None, None], made)


def _mapped(function: Callable[[S], T], items: Iterable[S], depth: int, threads: int) -> Iterator[T | None]:
    with ThreadPoolExecutor(threads, thread_name_prefix="groundswell-prepare") as pool:
        begun: Generator[Future[T], None, None] = prefetch(
            (pool.submit(function, item) for item in items), depth
        )
        with closing(begun):
            try:
                yield None
                for future in begun:
                    yield future.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


def _made_ahead(items: Iterable[T], depth: int) -> Iterator[T | None]:
    ready: queue.Queue[T | _End] = queue.Queue(maxsize=depth)
    abandoned = threading.Event()

    def put(item: T | _End) -> None:
        while not abandoned.is_set():
            try:
                return ready.put(item, timeout=_POLL_S)
            except queue.Full:
                continue

    def work() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                if abandoned.is_set():
                    return
                put(item)
        except BaseException as caught:  # handed to the consumer, who raises it
            error = caught
        put(_End(error))

    # in a copy of our context, so that log lines of the thread name the same unit
    thread = threading.Thread(target=copy_context().run, args=(work,), name="groundswell-ahead", daemon=True)
    thread.start()
    try:
        yield None
        while not isinstance(item := ready.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        abandoned.set()
        thread.join()
