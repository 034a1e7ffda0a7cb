"""Threads for waiting and for preparing: parallel maps, and bounded prefetching of an iterable.

Results come in the order of the items. The first error ends the iteration, and all threads end with their consumer.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from dataclasses import dataclass
from typing import TypeVar, cast

MAX_THREADS = 16
_POLL_S = 0.1
T = TypeVar("T")
R = TypeVar("R")


def map_parallel(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Return the results of all items, computed by 16 threads. All items are read at once."""
    with ThreadPoolExecutor(MAX_THREADS) as threads:
        return list(threads.map(function, items))


def map_ordered(
    function: Callable[[T], R], items: Iterable[T], max_pending: int = MAX_THREADS
) -> Iterator[R]:
    """Yield the results one by one, computed by threads; at most `max_pending` items are read in advance.

    The consumer's thread reads the items, and only while it waits for a result. So no thread runs between two results
    except those of pending items.
    """
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(max_pending) as threads:
        try:
            for item in items:
                pending.append(threads.submit(function, item))
                if len(pending) >= max_pending:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def prefetch(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    """Iterate in a thread that is up to `depth` items ahead of the consumer. The thread starts at once."""
    return _start(_prefetch(items, depth))


def prefetch_map(
    function: Callable[[T], R], items: Iterable[T], depth: int, threads: int
) -> Generator[R, None, None]:
    """Map in `threads` threads, up to `depth` results ahead of the consumer.

    One thread reads the items. Results keep the order of the items. The threads start at once.
    """
    if threads == 1:
        return prefetch(map(function, items), depth)
    return _start(_prefetch_map(function, items, depth, threads))


@dataclass(frozen=True)
class _End:
    error: BaseException | None


def _start(generator: Iterator[T | None]) -> Generator[T, None, None]:
    """Run a generator to its first yield, so that closing it ends its threads even if no item is ever taken."""
    next(generator)
    return cast(Generator[T, None, None], generator)


def _prefetch_map(
    function: Callable[[T], R], items: Iterable[T], depth: int, threads: int
) -> Iterator[R | None]:
    with ThreadPoolExecutor(threads, thread_name_prefix="groundswell-prepare") as pool:
        submitted: Generator[Future[R], None, None] = prefetch(
            (pool.submit(function, item) for item in items), depth
        )
        with closing(submitted):
            try:
                yield None
                for future in submitted:
                    yield future.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


def _prefetch(items: Iterable[T], depth: int) -> Iterator[T | None]:
    ready: queue.Queue[T | _End] = queue.Queue(maxsize=depth)
    is_closed = threading.Event()

    def put(item: T | _End) -> None:
        while not is_closed.is_set():
            try:
                return ready.put(item, timeout=_POLL_S)
            except queue.Full:
                continue

    def read_items() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                if is_closed.is_set():
                    return
                put(item)
        except BaseException as caught:  # the consumer raises it
            error = caught
        put(_End(error))

    # in a copy of our context, so that log lines of the thread name the same unit
    thread = threading.Thread(
        target=copy_context().run, args=(read_items,), name="groundswell-prefetch", daemon=True
    )
    thread.start()
    try:
        yield None
        while not isinstance(item := ready.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        is_closed.set()
        thread.join()
