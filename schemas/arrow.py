"""Arrow schemas of the tables: evidence, rejections, view. Gold has the schema of a view.

The tables are plain Parquet without extension types and nested unions, so other readers need none of our code.
Coordinates and scores are float32 everywhere, so equal rows have equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

SCHEMA_VERSION = "1.1"

_PIXELS = pa.struct(
    [
        ("url", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("row_group", pa.int32()),
        ("row", pa.int32()),
        ("column", pa.string()),
    ]
)
_SAMPLE = [
    ("unit", pa.string()),
    ("shard", pa.string()),
    ("index", pa.int64()),
    ("key", pa.string()),
    ("pixels", _PIXELS),
    ("image_sha256", pa.string()),
    ("source_url", pa.string()),
    ("source_sha256", pa.string()),
    ("license", pa.string()),
    ("meta", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("original_width", pa.int32()),
    ("original_height", pa.int32()),
    ("exif_orientation", pa.int8()),
    ("caption", pa.string()),
]
_PHRASE = [
    ("begin", pa.int32()),
    ("end", pa.int32()),
    ("text", pa.string()),
    ("root", pa.string()),
    ("kind", pa.string()),
    ("groundable", pa.bool_()),
    ("truncated", pa.bool_()),
]
_DROPPED = [("begin", pa.int32()), ("end", pa.int32()), ("text", pa.string()), ("code", pa.string())]
_REGION = [
    ("phrase", pa.int32()),
    ("x0", pa.float32()),
    ("y0", pa.float32()),
    ("x1", pa.float32()),
    ("y1", pa.float32()),
    ("score", pa.float32()),
    ("class_score", pa.float32()),
    ("quality", pa.float32()),
    ("pass_index", pa.int16()),
]
_VIEW_REGION = [
    *_REGION,
    ("p_correct", pa.float32()),
    ("q_value", pa.float32()),
    ("weight", pa.float32()),
    ("fate", pa.string()),
    ("origin", pa.string()),
]

EVIDENCE = pa.schema(
    [
        *_SAMPLE,
        ("phrases", pa.list_(pa.struct(_PHRASE))),
        ("dropped_phrases", pa.list_(pa.struct(_DROPPED))),
        ("regions", pa.list_(pa.struct(_REGION))),
    ]
)
REJECTIONS = pa.schema(
    [
        ("unit", pa.string()),
        ("index", pa.int64()),
        ("key", pa.string()),
        ("code", pa.string()),
        ("detail", pa.string()),
    ]
)
VIEW = pa.schema(
    [
        *_SAMPLE,
        ("phrases", pa.list_(pa.struct([*_PHRASE, ("fate", pa.string())]))),
        ("dropped_phrases", pa.list_(pa.struct(_DROPPED))),
        ("regions", pa.list_(pa.struct(_VIEW_REGION))),
    ]
)
# Fields in which null has a meaning. Files declare every field nullable, as the first version did.
NULLABLE = frozenset(
    {
        *("pixels.offset", "pixels.length", "pixels.row_group", "pixels.row", "pixels.column"),
        *("source_url", "source_sha256", "license", "original_width", "original_height"),
        *("phrases.begin", "phrases.end"),
        *("regions.class_score", "regions.quality", "regions.p_correct", "regions.q_value"),
    }
)


def build_table(
    rows: Sequence[Mapping[str, object]], schema: pa.Schema, metadata: dict[str, str]
) -> pa.Table:
    """Build a table of plain rows with the given schema, with provenance in its metadata.

    Raises KeyError if a row has a field that is not in the schema: `from_pylist` would drop it silently.
    """
    known = set(schema.names)
    for row in rows:
        extra = row.keys() - known
        if extra:
            raise KeyError(f"row {row.get('key')!r} has fields {sorted(extra)} that the schema does not have")
    full = {"groundswell.schema_version": SCHEMA_VERSION, **metadata}
    return pa.Table.from_pylist(list(rows), schema=schema.with_metadata(full))
