"""The ids that boxes had in an imported file, in a table beside the gold. They are in no row and in no digest."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from engine.settings import StorageSettings
from engine.storage.store import open_store
from student.gold.coco.types import CocoId
from student.gold.ids import parse_id

FILE = "source_ids.parquet"
_DIGEST = b"groundswell.gold"
_SCHEMA = pa.schema([("row", pa.int32()), ("ids", pa.list_(pa.string()))])

BoxIds = Sequence[Sequence[str | None]]
"""For each row, the id of each of its regions, as text."""


def write_source_ids(url: str, digest: str, ids: BoxIds, storage: StorageSettings | None = None) -> None:
    """Write the ids beside the gold at `url`, which has this digest. Without any id nothing is written."""
    if not any(one is not None for row in ids for one in row):
        return
    table = pa.table({"row": range(len(ids)), "ids": [list(row) for row in ids]}, schema=_SCHEMA)
    table = table.replace_schema_metadata({_DIGEST: digest.encode()})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    open_store(url, storage).put(FILE, buffer.getvalue())


def read_source_ids(
    url: str, digest: str, storage: StorageSettings | None = None
) -> Iterator[list[CocoId | None]]:
    """Yield for each row the ids of its regions; nothing for gold without them, or for a table of other gold."""
    store = open_store(url, storage)
    if not store.exists(FILE):
        return
    table = pq.read_table(io.BytesIO(store.read(FILE)))
    if (table.schema.metadata or {}).get(_DIGEST) != digest.encode():
        return
    for row in table["ids"].to_pylist():
        yield [None if one is None else parse_id(one) for one in row]
