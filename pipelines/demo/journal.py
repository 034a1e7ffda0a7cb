"""The demo's journal: which step is done, with what result, so that a second run does nothing twice.

A step is done when its record was written, last and whole, under the same key. The key covers the seed, the recipe,
the code and the steps before it: change any of them and the step, and all after it, run again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from schemas.digests import digest_of, sha256_hex

ROOMS = ("schemas", "engine", "teacher", "student", "pipelines")


class Journal:
    """Runs steps in order and remembers them in `folder/steps/NAME.json`."""

    def __init__(self, folder: Path, key: dict[str, Any], total: int, say: Callable[[str], None]) -> None:
        self._folder = folder / "steps"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._key = digest_of(key)
        self._total = total
        self._number = 0
        self._say = say
        self.seconds: dict[str, float] = {}
        self.repeated: list[str] = []

    def step(self, name: str, title: str, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The step's JSON result: from its record when it is done under the same key, else by running it."""
        self._number += 1
        self._key = digest_of([self._key, name])
        path = self._folder / f"{name}.json"
        record = self._read(path)
        if record is None:
            self._say(f"[{self._number}/{self._total}] {title}")
            record = self._run(path, run)
        else:
            self.repeated.append(name)
            self._say(
                f"[{self._number}/{self._total}] {title}: already done (took {record['seconds']:.0f} s)"
            )
        self.seconds[name] = record["seconds"]
        return dict(record["result"])

    def _read(self, path: Path) -> dict[str, Any] | None:
        if not path.is_file():
            return None
        record = json.loads(path.read_text(encoding="utf-8"))
        return record if record["key"] == self._key else None

    def _run(self, path: Path, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        path.unlink(missing_ok=True)
        began = time.monotonic()
        result = run()
        record = {"key": self._key, "seconds": round(time.monotonic() - began, 2), "result": result}
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(record, ensure_ascii=False, allow_nan=False), encoding="utf-8")
        os.replace(partial, path)
        return json.loads(path.read_text(encoding="utf-8"))


def code_digest(root: Path) -> str:
    """A digest of the project's source: other code may give other results, so its steps run again."""
    files = sorted(path for room in ROOMS for path in (root / room).rglob("*.py"))
    return digest_of({str(path.relative_to(root)): sha256_hex(path.read_bytes()) for path in files})
