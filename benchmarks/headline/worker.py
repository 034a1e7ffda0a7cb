"""Runs one cell: `python -m benchmarks.headline.worker SPEC.json`. Its record is written last: a kill leaves none."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.headline.cells import FAILURE, RECORD, Cell, CellStore
from benchmarks.headline.stages import Job, run_stage
from engine.storage.local_files import replace_file

SPECS, NOTE = "specs", "progress.txt"
_NOTE_EVERY_S = 2.0


def spec_of(cell: Cell, store: CellStore) -> dict[str, Any]:
    """All that a process needs to know to run a cell."""
    return {
        "kind": cell.kind,
        "title": cell.title,
        "digest": cell.digest,
        "settings": dict(cell.settings),
        "inputs": {role: str(store.folder(needed)) for role, needed in cell.inputs.items()},
        "out": str(store.folder(cell)),
    }


def run_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Run a cell in this process and write its record, or its failure, which is raised again."""
    out = Path(spec["out"])
    job = Job(
        spec["kind"],
        spec["settings"],
        {role: Path(path) for role, path in spec["inputs"].items()},
        out,
        _Note(out / NOTE),
    )
    began, cpu = time.monotonic(), time.process_time()
    try:
        result = run_stage(job)
    except Exception:
        out.mkdir(parents=True, exist_ok=True)
        (out / FAILURE).write_text(traceback.format_exc(), encoding="utf-8")
        raise
    record = {
        **{name: spec[name] for name in ("digest", "title", "kind", "settings")},
        "cpu_s": round(time.process_time() - cpu, 1),
        "wall_s": round(time.monotonic() - began, 1),
        "instructions": instructions(),
        "result": result,
    }
    (out / FAILURE).unlink(missing_ok=True)
    replace_file(out / RECORD, json.dumps(record, indent=1).encode())
    return record


def instructions() -> str:
    """Return the widest instructions that torch uses on this processor. Others round differently."""
    import torch

    return str(torch.backends.cpu.get_cpu_capability())


class _Note:
    """How far the cell is, in a file that the grid reads for its line of progress."""

    def __init__(self, path: Path) -> None:
        self._path, self._last = path, 0.0

    def __call__(self, label: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last >= _NOTE_EVERY_S and self._path.parent.is_dir():
            self._path.write_text(f"{label} {done}/{total}")
            self._last = now


if __name__ == "__main__":
    from pipelines.demo.parallel_train import tie_to_parent

    tie_to_parent()
    run_spec(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
