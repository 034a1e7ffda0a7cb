"""Define the type of a progress callback."""

from __future__ import annotations

from collections.abc import Callable

ProgressCallback = Callable[[str, int, int], None]
"""Called with a label, the number of finished steps, and the total number of steps."""
