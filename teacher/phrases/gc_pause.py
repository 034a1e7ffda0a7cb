"""Pause Python's cyclic garbage collector during bounded work that makes many objects and few cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def pause_gc() -> Iterator[None]:
    """Disable cyclic garbage collection inside the context, and restore its state afterwards.

    Two threads may pause it at once. Reading captions makes some hundred objects each, and a collection walks over the
    loaded spaCy pipeline every time (docs/phrases.md has the share). Reference counting still frees objects.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
