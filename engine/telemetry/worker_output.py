"""The printed output of workers: saved next to the evidence when a pool closes, and shown when a worker dies.

An error here never fails a run, and the output is never read as data.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from engine.redaction import redact
from engine.storage.store import Store

log = logging.getLogger(__name__)
FOLDER = "logs"
MAX_BYTES = 256 * 1024
_RAY_PREFIXES = (":job_id:", ":actor_name:", ":task_name:")


def read_output(path: str) -> str:
    """Return the end of what a worker of this machine printed; empty for a worker of another machine."""
    if not os.path.isfile(path):  # reading a terminal or a pipe would block
        return ""
    with open(path, "rb") as file:
        file.seek(max(os.path.getsize(path) - MAX_BYTES, 0))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return "\n".join(line for line in lines if line.strip() and not line.startswith(_RAY_PREFIXES))


def save_outputs(store: Store, paths: Iterable[str]) -> None:
    """Put what workers printed under `logs/` of the output, one file per worker and stream; skip empty ones."""
    for path in paths:
        try:
            text = redact(read_output(path))
            if text:
                store.put(f"{FOLDER}/{Path(path).name}.log", text.encode() + b"\n")
        except Exception as error:  # the evidence is committed, so an error of the logs must not fail the run
            log.warning("%s was not saved: %s: %s", path, type(error).__name__, error)
