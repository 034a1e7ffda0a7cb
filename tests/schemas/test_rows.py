"""Typed rows and Arrow schemas agree field by field."""

from __future__ import annotations

import types
import typing
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pyarrow as pa
import pytest

from schemas import arrow
from schemas.records import Phrase, Pixels, Region, Rejection, Sample
from schemas.rows import (
    DroppedPhraseRow,
    EvidenceRow,
    PhraseRow,
    PixelsRow,
    RegionRow,
    RejectionRow,
    ViewPhraseRow,
    ViewRegionRow,
    ViewRow,
    rows_of,
)

PLAIN = {
    str: (pa.string(),),
    int: (pa.int8(), pa.int16(), pa.int32(), pa.int64()),
    float: (pa.float32(),),
    bool: (pa.bool_(),),
}


def assert_alike(row: type, fields: list[pa.Field], prefix: str = "") -> None:
    hints = get_type_hints(row)
    assert list(hints) == [field.name for field in fields] or set(hints) == {f.name for f in fields}
    for field in fields:
        name = prefix + field.name
        hint, is_nullable = without_none(hints[field.name])
        assert is_nullable == (name in arrow.NULLABLE), f"{row.__name__}.{name}"
        if pa.types.is_list(field.type):
            (item,) = get_args(hint)
            assert get_origin(hint) is list
            assert_alike(item, list(field.type.value_type), f"{name}.")
        elif pa.types.is_struct(field.type):
            assert_alike(hint, list(field.type), f"{name}.")
        else:
            plain = str if get_origin(hint) is Literal else hint
            assert field.type in PLAIN[plain], f"{row.__name__}.{name}: {hint} for {field.type}"


def without_none(hint: Any) -> tuple[Any, bool]:
    if get_origin(hint) in (types.UnionType, typing.Union):
        (rest,) = [arg for arg in get_args(hint) if arg is not type(None)]
        return rest, True
    return hint, False


@pytest.mark.parametrize(
    ("row", "schema"),
    [(EvidenceRow, arrow.EVIDENCE), (ViewRow, arrow.VIEW), (RejectionRow, arrow.REJECTIONS)],
)
def test_a_row_type_has_the_fields_types_and_nulls_of_its_schema(row: type, schema: pa.Schema) -> None:
    assert_alike(row, list(schema))


def test_every_nullable_name_is_a_field_of_a_schema() -> None:
    names = {
        name
        for schema in (arrow.EVIDENCE, arrow.VIEW)
        for field in schema
        for name in (field.name, *(f"{field.name}.{part.name}" for part in parts(field.type)))
    }

    assert names >= arrow.NULLABLE


def parts(kind: pa.DataType) -> list[pa.Field]:
    struct = kind.value_type if pa.types.is_list(kind) else kind
    return list(struct) if pa.types.is_struct(struct) else []


@pytest.mark.parametrize(
    ("row", "record"),
    [(PixelsRow, Pixels), (PhraseRow, Phrase), (RegionRow, Region), (RejectionRow, Rejection)],
)
def test_a_row_type_has_the_fields_of_its_record(row: type, record: Any) -> None:
    assert set(get_type_hints(row)) == set(record.model_fields)


def test_a_field_of_a_record_may_be_none_where_its_column_may_be_null() -> None:
    for prefix, record in (("", Sample), ("pixels.", Pixels), ("phrases.", Phrase), ("regions.", Region)):
        for name, field in record.model_fields.items():
            _, is_nullable = without_none(field.annotation)
            assert is_nullable == (prefix + name in arrow.NULLABLE), prefix + name


def test_the_parts_of_a_view_add_to_those_of_evidence() -> None:
    assert set(get_type_hints(ViewPhraseRow)) - set(get_type_hints(PhraseRow)) == {"fate"}
    assert set(get_type_hints(ViewRegionRow)) > set(get_type_hints(RegionRow))
    assert "code" in get_type_hints(DroppedPhraseRow)


def test_rows_are_read_from_a_table_as_they_were_written() -> None:
    rows: list[RejectionRow] = [{"unit": "u", "index": 3, "key": "k", "code": "NO_CAPTION", "detail": ""}]

    table = arrow.build_table(rows, arrow.REJECTIONS, {})

    assert rows_of(table, RejectionRow) == rows
