"""How fast evidence becomes a view on one core, beside reading and writing the same rows bare, and in what memory.

    python -m benchmarks.compile_speed [--units 20] [--rows 500]      # what `make bench-compile` runs; about a minute

Made-up evidence: rows of 5 phrases with 4 regions each, committed as `label` does. Contestants, all in one run:
`columns` reads the evidence's Parquet and writes it again, never making a row; `rows` makes plain dictionaries of it in
between, as anyone's Python must who looks at a row; `default` and `all rules` are compile. Peak memory is that of the
process after a tenth of the rows, and after all.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.ledger.commits import commit_unit, put_record, to_snapshot_entry
from engine.ledger.snapshots.segments import write_segment
from engine.ledger.snapshots.set_digest import SetDigest
from engine.ledger.snapshots.snapshots import snapshot_path
from engine.ledger.unit_result import UnitResult
from engine.storage.store import open_store
from pipelines.compile.policy import Policy
from pipelines.compile.run import compile_view
from pipelines.terminal.table import format_table
from schemas.digests import canonical_json
from schemas.ledger import FingerprintParts, Snapshot, Unit
from schemas.rows import EvidenceRow
from schemas.settings import EvidenceSettings

PHRASES = ("a red dog", "two blue boats", "green grass", "the old man", "a small lynx")
ROOTS = ("dog", "boat", "grass", "man", "lynx")
CAPTION = " and ".join(PHRASES)
REGIONS, SIDE_PX, SHARD = 4, 512, "made-up/00000.tar"
EVERYTHING = Policy(
    candidate_score=0.1, nms_iou=0.5, max_candidates_per_phrase=3, one_to_one=True, min_score=0.4, ignore_score=0.2,
    class_only_below=0.5, weight="ramp", weight_ramp=(0.2, 0.6), merge_iou=0.75, max_regions_per_phrase=3,
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Print rows per second of each program, its share of both bare ones, and the peak memory."""
    options = _options(arguments)
    with tempfile.TemporaryDirectory(prefix="groundswell-bench-") as name:
        folder = Path(name)
        write_evidence(folder / "few", max(options.units // 10, 1), options.rows)
        write_evidence(folder / "all", options.units, options.rows)
        _bare(folder / "few", folder / "warm", _through_rows)  # the first call of Arrow starts its threads
        _compile(folder / "few", EVERYTHING, folder / "view-few")
        peaks = [_peak_mib()]
        rows = options.units * options.rows
        contestants: dict[str, Callable[[Path], object]] = {
            "bare, columns": lambda to: _bare(folder / "all", to, lambda t: t),
            "bare, rows": lambda to: _bare(folder / "all", to, _through_rows),
            "compile, default": lambda to: _compile(folder / "all", Policy(), to),
            "compile, all rules": lambda to: _compile(folder / "all", EVERYTHING, to),
        }
        rates = {name: rows / _seconds(run, folder / name) for name, run in contestants.items()}
        peaks.append(_peak_mib())
    lines = [
        [name, f"{rate:.0f}", f"{rate / rates['bare, columns']:.3f}", f"{rate / rates['bare, rows']:.2f}"]
        for name, rate in rates.items()
    ]
    print(format_table(lines, [f"{rows} rows", "rows/s", "of columns", "of rows"]))
    print(
        f"peak memory: {peaks[0]:.0f} MiB after {rows // 10} rows, {peaks[1]:.0f} MiB after all contestants"
    )


def write_evidence(folder: Path, units: int, rows: int) -> None:
    """Commit `units` units of `rows` made-up rows each, and a snapshot of them."""
    store, settings = open_store(str(folder)), EvidenceSettings()
    rng = np.random.default_rng(0)
    metadata = {
        "groundswell.score_kind": "made.up",
        "groundswell.evidence": canonical_json(settings.model_dump(mode="json")).decode(),
    }
    entries = []
    for number in range(units):
        unit = Unit(name=f"{number:016d}-00000000", shard=SHARD, input_digest="sha256:0", first=0, count=rows)
        parts = FingerprintParts(
            input="i", first=0, count=rows, reading="r", teacher="t", phrases="p", decoys="d",
            evidence=settings.digest(), schema_version="1.0",
        )  # fmt: skip
        made = [_row(rng, unit.name, index) for index in range(rows)]
        entries.append(
            to_snapshot_entry(commit_unit(store, unit, parts, UnitResult(rows=made, rejections=[]), metadata))
        )
    digest = SetDigest().add((entry.unit, entry.rows_digest) for entry in entries)
    segments = (write_segment(store, entries, 1),)
    snapshot = Snapshot(
        version=1, job_digest="sha256:job", planned=units, totals=segments[0].totals, digest=digest.value(),
        digest_state=digest.encode(), segments=segments,
    )  # fmt: skip
    put_record(store, snapshot_path(1), snapshot)


def _row(rng: np.random.Generator, unit: str, index: int) -> EvidenceRow:
    corners = rng.uniform(0, SIDE_PX - 100, (len(PHRASES) * REGIONS, 2))
    boxes = np.concatenate((corners, corners + rng.uniform(20, 99, corners.shape)), axis=1).tolist()
    scores = rng.beta(1, 2, len(boxes)).tolist()
    regions = [
        {
            "phrase": i // REGIONS,
            "x0": x0,
            "y0": y0,
            "x1": x1,
            "y1": y1,
            "score": max(score, 0.05),
            "pass_index": 0,
        }
        for i, ((x0, y0, x1, y1), score) in enumerate(zip(boxes, scores, strict=True))
    ]
    phrases = [
        {"begin": CAPTION.index(text), "end": CAPTION.index(text) + len(text), "text": text, "root": root,
         "kind": "chunk", "groundable": True, "truncated": False}
        for text, root in zip(PHRASES, ROOTS, strict=True)
    ]  # fmt: skip
    row = {
        "unit": unit, "shard": SHARD, "index": index, "key": f"{index:09d}",
        "pixels": {"url": SHARD, "offset": 512 * index, "length": 512}, "image_sha256": f"{index:064x}", "meta": "{}",
        "width": SIDE_PX, "height": SIDE_PX, "exif_orientation": 1, "caption": CAPTION, "phrases": phrases,
        "dropped_phrases": [], "regions": regions,
    }  # fmt: skip
    return cast(EvidenceRow, row)


def _bare(evidence: Path, to: Path, between: Callable[[pa.Table], pa.Table]) -> None:
    to.mkdir()
    for number, file in enumerate(sorted((evidence / "data").rglob("*.parquet"))):
        pq.write_table(between(pq.read_table(file)), to / f"{number}.parquet")


def _through_rows(found: pa.Table) -> pa.Table:
    return pa.Table.from_pylist(found.to_pylist(), schema=found.schema)


def _compile(evidence: Path, policy: Policy, to: Path) -> int:
    return compile_view(str(evidence), policy, str(to)).samples.samples_in


def _seconds(run: Callable[[Path], object], to: Path) -> float:
    start = time.perf_counter()
    run(to)
    return time.perf_counter() - start


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--units", type=int, default=20)
    parser.add_argument("--rows", type=int, default=500, help="per unit")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
