"""Many short waits for a store at once, in threads.

Promise: results come in the order of the items, and the first error ends it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

AT_ONCE = 16
T = TypeVar("T")
R = TypeVar("R")


def map_parallel(look: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """The look-ups' results; all items are taken at once."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(look, items))


def map_ordered(look: Callable[[T], R], items: Iterable[T], at_once: int = AT_ONCE) -> Iterator[R]:
    """As `in_parallel`, one by one: of any number of items, no more than `at_once` are taken ahead."""
    ahead: deque[Future[R]] = deque()
    with ThreadPoolExecutor(at_once) as threads:
        try:
            for item in items:
                ahead.append(threads.submit(look, item))
                if len(ahead) >= at_once:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for waiting in ahead:
                waiting.cancel()
