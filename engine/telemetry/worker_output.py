"""What workers print: kept beside the evidence when a pool closes, and its last lines shown when a worker dies.

Promise: never a reason for a run to fail, and nothing of it is read as data.
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
_RAYS_OWN = (":job_id:", ":actor_name:", ":task_name:")


def read_output(path: str) -> str:
    """The end of what a worker of this machine printed; empty for one elsewhere."""
    if not os.path.isfile(path):  # a terminal or a pipe would keep a reader waiting
        return ""
    with open(path, "rb") as file:
        file.seek(max(os.path.getsize(path) - MAX_BYTES, 0))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return "\n".join(line for line in lines if line.strip() and not line.startswith(_RAYS_OWN))


def save_outputs(store: Store, paths: Iterable[str]) -> None:
    """Put what workers printed under `logs/` of the output, a file a worker and stream, where there is anything."""
    for path in paths:
        try:
            text = redact(read_output(path))
            if text:
                store.put(f"{FOLDER}/{Path(path).name}.log", text.encode() + b"\n")
        except (
            Exception
        ) as error:  # the evidence is committed; its workers' chatter must not turn that into a failure
            log.warning("%s was not kept: %s: %s", path, type(error).__name__, error)
