"""Working ahead: an iterable is driven by a thread, a bounded number of items before they are needed.

Promise: the same items in the same order, or the same exception; the thread ends with its consumer.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextvars import copy_context
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
_POLL_S = 0.1


@dataclass(frozen=True)
class _End:
    error: BaseException | None


def ahead(items: Iterable[T], depth: int) -> Iterator[T]:
    """Iterate with up to `depth` items made in advance, e.g. decoding while the teacher runs."""
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
        while not isinstance(item := ready.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        abandoned.set()
        thread.join()
