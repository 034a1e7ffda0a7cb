"""What the protocol costs per unit: store operations and seconds of a commit beside writing the same bytes plainly."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from engine.ledger.commits import ROW_GROUP_ROWS, commit_unit
from engine.ledger.fingerprint import MethodDigests, build_parts
from engine.ledger.unit_result import UnitResult
from engine.storage.safe_parquet import table_bytes
from engine.storage.store import Store
from schemas.arrow import EVIDENCE, build_table
from schemas.ledger import Unit, unit_name
from schemas.rows import EvidenceRow

ROWS = 500
_OPERATIONS = ("read", "put_if_absent", "put", "list", "exists", "size")


def protocol_lines(folder: Path, units: int) -> Iterator[str]:
    """One line: how a commit of 500 rows compares with encoding the rows and writing the file."""
    store = Store(str(folder / "protocol"))
    counted = _count_operations(store)
    rows = [_row(index) for index in range(ROWS)]
    begun = time.perf_counter()
    for number in range(units):
        data = table_bytes(build_table(rows, EVIDENCE, {}), ROW_GROUP_ROWS)
        (folder / f"plain-{number}.parquet").write_bytes(data)
    plain_ms = (time.perf_counter() - begun) / units * 1000
    begun = time.perf_counter()
    for number in range(units):
        _commit(store, rows, number)
    ours_ms = (time.perf_counter() - begun) / units * 1000
    per_unit = {name: count / units for name, count in counted.items()}
    yield (
        f"a commit of {ROWS} rows on local disk: {ours_ms:.1f} ms; encoding and writing them plainly: "
        f"{plain_ms:.1f} ms; store operations per unit: {per_unit}"
    )


def _commit(store: Store, rows: list[EvidenceRow], number: int) -> None:
    url = f"/benchmark/{number}.tar"
    unit = Unit(name=unit_name(url, 0), shard=url, input_digest="sha256:0", first=0, count=ROWS)
    parts = build_parts(unit, MethodDigests(reading="r", teacher="t", phrases="p", evidence="e"))
    commit_unit(store, unit, parts, UnitResult([{**row, "unit": unit.name} for row in rows]), {})


def _count_operations(store: Store) -> Counter[str]:
    counted: Counter[str] = Counter()

    def count_calls(name: str) -> Any:
        operation = getattr(store, name)

        def counts(*args: Any) -> Any:
            counted[name] += 1
            return operation(*args)

        return counts

    for name in _OPERATIONS:
        setattr(store, name, count_calls(name))
    return counted


def _row(index: int) -> EvidenceRow:
    """Return an evidence row with four phrases and twelve regions, as captions of web images have."""
    caption = "a dog beside the bench under a tree, seen from the road"
    phrase = {
        "begin": 0,
        "end": 5,
        "text": "a dog",
        "root": "dog",
        "kind": "chunk",
        "groundable": True,
        "truncated": False,
    }
    region = {
        "x0": 1.0,
        "y0": 2.0,
        "x1": 30.0,
        "y1": 40.0,
        "class_score": None,
        "quality": None,
        "pass_index": 0,
    }
    row = {
        **{field.name: None for field in EVIDENCE},
        "unit": "", "shard": "/benchmark/0.tar", "index": index, "key": f"{index:09d}",
        "pixels": {**dict.fromkeys(("row_group", "row", "column")), "url": "/b/0.tar", "offset": index, "length": 9},
        "image_sha256": f"{index:064x}", "meta": "{}", "width": 400, "height": 300, "exif_orientation": 1,
        "caption": caption, "phrases": [{**phrase, "truncated": False}] * 4, "dropped_phrases": [],
        "regions": [{**region, "phrase": at % 4, "score": ((index * 13 + at * 7) % 1000) / 1000} for at in range(12)],
    }  # fmt: skip
    return cast(EvidenceRow, row)
