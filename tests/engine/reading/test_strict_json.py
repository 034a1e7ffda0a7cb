from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.reading.strict_json import MAX_BYTES, MAX_DEPTH, load_object
from schemas.errors import SampleRejectedError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_what_json_writes_is_read_back(value: dict) -> None:
    assert load_object(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": ' + b"9" * 5_000 + b"}",
        b'{"a": ' + b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1) + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a": 1, "a": 2}',
        b'{"a": "\xff"}',
        b"[1, 2]",
        b"",
        b"{",
        b'{"a": "' + b"x" * MAX_BYTES + b'"}',
    ],
    ids=lambda data: data[:12].decode("ascii", "replace"),
)
def test_what_is_not_strict_json_is_rejected_with_its_code(data: bytes) -> None:
    with pytest.raises(SampleRejectedError) as caught:
        load_object(data)

    assert caught.value.code == "JSON_BAD"


def test_brackets_inside_strings_are_no_depth() -> None:
    assert load_object(json.dumps({"a": "[" * 500 + '"{'}).encode()) == {"a": "[" * 500 + '"{'}


def test_the_deepest_allowed_nesting_is_read() -> None:
    text = '{"a": ' + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1) + "}"

    assert "a" in load_object(text.encode())


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        assert isinstance(load_object(data), dict)
    except SampleRejectedError as rejected:
        assert rejected.code == "JSON_BAD"
