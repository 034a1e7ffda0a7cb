from __future__ import annotations

import base64
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.storage.safe_parquet import has_extension_type, read_table, table_bytes
from schemas.arrow import REJECTIONS, build_table
from schemas.errors import ConflictError
from tests.engine.canary import canary


def rejections(detail: str) -> pa.Table:
    row = {"unit": "u", "index": 0, "key": "k", "code": "OOM", "detail": detail}
    return build_table([row], REJECTIONS, {"a": "b"})


def test_a_table_reads_back_as_it_was_written() -> None:
    table = rejections("x")

    assert read_table(table_bytes(table, 256), REJECTIONS, "here").equals(table)


def test_an_extension_type_in_a_file_that_looks_like_ours_is_refused_before_it_is_made() -> None:
    with canary() as (evil, fired):
        sink = io.BytesIO()
        pq.write_table(rejections("x").append_column("evil", evil), sink)
        pq.read_table(io.BytesIO(sink.getvalue()), arrow_extensions_enabled=False)
        assert fired, "the canary must sing for a naive reader, or this test shows nothing"
        fired.clear()

        with pytest.raises(ConflictError, match="extension type"):
            read_table(sink.getvalue(), REJECTIONS, "here")

        assert fired == []


@pytest.mark.parametrize(
    "text", ["ARROW:extension:name", base64.b64encode(b"a ARROW:extension:name").decode()]
)
def test_a_text_that_looks_like_a_type_does_not_make_its_file_unreadable(text: str) -> None:
    assert has_extension_type(text.encode())

    table = read_table(table_bytes(rejections(text), 256), REJECTIONS, "here")

    assert table.column("detail").to_pylist() == [text]


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + bytes(20) + b"PAR1", b"\xff" * 40 + b"PAR1"])
def test_bytes_that_are_no_table_are_a_conflict(data: bytes) -> None:
    with pytest.raises(ConflictError, match="here is not a readable Parquet file"):
        read_table(data, REJECTIONS, "here")


def test_another_schema_is_a_conflict() -> None:
    other = table_bytes(pa.table({"a": [1]}), 256)

    with pytest.raises(ConflictError, match="expected a file written by this version"):
        read_table(other, REJECTIONS, "here")
