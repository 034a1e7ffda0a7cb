"""The schemas that `groundswell schema NAME` prints: settings and records as JSON Schema, tables column by column."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaValue

if TYPE_CHECKING:
    import pyarrow as pa

    Described: TypeAlias = type[BaseModel] | pa.Schema


def load_catalog() -> dict[str, Described]:
    """Return what has a schema, by its name on the command line."""
    from pipelines.compile.policy import Policy
    from pipelines.label.job import JobConfig
    from pipelines.label.prices import PriceSettings
    from pipelines.label.progress.record import ProgressRecord
    from pipelines.rounds.settings import RoundsConfig
    from schemas.arrow import EVIDENCE, REJECTIONS, VIEW
    from schemas.ledger import CommitRecord, Snapshot
    from schemas.records import Sample
    from student.settings.train import TrainSettings

    return {
        "job": JobConfig,
        "prices": PriceSettings,
        "progress": ProgressRecord,
        "policy": Policy,
        "train": TrainSettings,
        "rounds": RoundsConfig,
        "commit": CommitRecord,
        "snapshot": Snapshot,
        "sample": Sample,
        "evidence": EVIDENCE,
        "rejections": REJECTIONS,
        "view": VIEW,
    }


def describe(name: str, described: Described) -> JsonSchemaValue:
    """Return the JSON Schema of a settings class or record, or of one row of a table."""
    if isinstance(described, type) and issubclass(described, BaseModel):
        schema: JsonSchemaValue = described.model_json_schema()
        return schema
    return {"title": f"{name} row", **_describe_fields(described)}


def _describe_fields(fields: Iterable[pa.Field]) -> JsonSchemaValue:
    return {"type": "object", "properties": {field.name: _describe_type(field.type) for field in fields}}


def _describe_type(kind: pa.DataType) -> JsonSchemaValue:
    """Return an Arrow type as JSON Schema. Every value may be null, as in Arrow."""
    import pyarrow.types as types

    if types.is_list(kind):
        return {"type": ["array", "null"], "items": _describe_type(kind.value_type)}
    if types.is_struct(kind):
        return _describe_fields(kind.fields) | {"type": ["object", "null"]}
    names = (
        (types.is_string, "string"),
        (types.is_boolean, "boolean"),
        (types.is_integer, "integer"),
        (types.is_floating, "number"),
    )
    for is_kind, name in names:
        if is_kind(kind):
            return {"type": [name, "null"], "description": str(kind)}
    raise TypeError(f"the Arrow type {kind} has no JSON Schema here; add it to {_describe_type.__name__}")
