"""A bounded cache of results by caption, since captions of the web repeat. The least recently used is evicted first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Result = TypeVar("Result")
CAPACITY = 8192


class CaptionCache(Generic[Result]):
    """Results of a function of captions: never more than `capacity` of them."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._known: OrderedDict[str, Result] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get_or_make(self, captions: Sequence[str], make: Callable[[list[str]], list[Result]]) -> list[Result]:
        """Return one result per caption, in order. `make` is called once, for distinct captions that are unknown."""
        distinct = dict.fromkeys(captions)
        new = [caption for caption in distinct if caption not in self._known]
        results = dict(zip(new, make(new), strict=True)) if new else {}
        for caption in distinct:
            if caption not in results:
                self._known.move_to_end(caption)
                results[caption] = self._known[caption]
        answers = [results[caption] for caption in captions]
        for caption in new:
            self._known[caption] = results[caption]
        while len(self._known) > self._capacity:
            self._known.popitem(last=False)
        return answers
