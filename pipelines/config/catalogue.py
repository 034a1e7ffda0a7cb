"""The schemas that `groundswell schema NAME` prints: settings and records as JSON Schema, tables column by column."""

from __future__ import annotations

import importlib
from typing import Any

SCHEMAS: dict[str, str] = {
    "job": "pipelines.label.job:JobConfig",
    "prices": "pipelines.label.plan.prices:PriceSettings",
    "progress": "pipelines.label.progress.reporter:ProgressRecord",
    "policy": "pipelines.compile.policy:Policy",
    "train": "student.settings.train:TrainSettings",
    "rounds": "pipelines.rounds.settings:RoundsConfig",
    "commit": "schemas.ledger:CommitRecord",
    "snapshot": "schemas.ledger:Snapshot",
    "sample": "schemas.records:Sample",
    "evidence": "schemas.arrow:EVIDENCE",
    "rejections": "schemas.arrow:REJECTIONS",
    "view": "schemas.arrow:VIEW",
}


def json_schema(name: str) -> dict[str, Any]:
    """The JSON Schema of a name in SCHEMAS; of a table, the schema of one of its rows."""
    module, attribute = SCHEMAS[name].split(":")
    thing = getattr(importlib.import_module(module), attribute)
    if hasattr(thing, "model_json_schema"):
        return dict(thing.model_json_schema())
    return {"title": f"{name} row", **_of_fields(thing)}


def _of_fields(fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {field.name: _of_type(field.type) for field in fields}}


def _of_type(kind: Any) -> dict[str, Any]:
    """An Arrow type as JSON Schema; every value may be null, as in Arrow."""
    import pyarrow.types as t

    if t.is_list(kind):
        return {"type": ["array", "null"], "items": _of_type(kind.value_type)}
    if t.is_struct(kind):
        return _of_fields(kind.fields) | {"type": ["object", "null"]}
    names = (
        (t.is_string, "string"),
        (t.is_boolean, "boolean"),
        (t.is_integer, "integer"),
        (t.is_floating, "number"),
    )
    for fits, word in names:
        if fits(kind):
            return {"type": [word, "null"], "description": str(kind)}
    raise TypeError(f"the Arrow type {kind} has no JSON Schema here; add it")
