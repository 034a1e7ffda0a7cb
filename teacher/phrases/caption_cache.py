"""Results by caption, the least recently used forgotten first: the web repeats itself.

Promise: never more than `capacity` results are kept, whatever is asked, and the order of the answers is the question's.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Result = TypeVar("Result")
CAPACITY = 8192


class CaptionCache(Generic[Result]):
    """A bounded memory of what a function made of captions."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._known: OrderedDict[str, Result] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def filled(self, captions: Sequence[str], make: Callable[[list[str]], list[Result]]) -> list[Result]:
        """One result per caption; `make` is asked once, for the distinct captions that are not known."""
        wanted = dict.fromkeys(captions)
        new = [caption for caption in wanted if caption not in self._known]
        here = dict(zip(new, make(new), strict=True)) if new else {}
        for caption in wanted:
            if caption not in here:
                self._known.move_to_end(caption)
                here[caption] = self._known[caption]
        answers = [here[caption] for caption in captions]
        for caption in new:
            self._known[caption] = here[caption]
        while len(self._known) > self._capacity:
            self._known.popitem(last=False)
        return answers
