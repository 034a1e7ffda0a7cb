"""Python's collector of cycles, paused for a bounded stretch of work that makes many objects and few cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Within, no cycles are looked for; afterwards it is as it was, also when two threads pause it at once.

    Reading captions makes some hundred objects each, and a collector that is called by their number walks over a
    loaded spaCy pipeline again and again (docs/phrases.md has the share). What is freed by counting still is.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
