"""Large JSON an item at a time: equal to the whole parser's answer, and bad bytes are told with their place."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import student.gold.json_stream as json_stream
from schemas.errors import ConfigError, NotFoundError, SampleRejectedError
from student.gold.json_stream import EMPTY, iter_fields, iter_lines

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
NOT_LISTS = VALUES.filter(lambda value: not isinstance(value, list))


def gathered(path: Path) -> dict[str, Any]:
    found = defaultdict(list)
    for name, item in iter_fields(path):
        found[name] += [] if item is EMPTY else [item]
    return dict(found)


@settings(max_examples=50)
@given(
    st.dictionaries(st.text(max_size=4), st.lists(VALUES, max_size=4) | NOT_LISTS, max_size=4),
    st.integers(1, 9),
    st.sampled_from([None, 1]),
)
def test_items_are_those_of_the_whole_parser_whatever_the_window(
    tmp_path_factory: pytest.TempPathFactory, value: dict, chunk: int, indent: int | None
) -> None:
    path = tmp_path_factory.mktemp("json") / "file.json"
    path.write_text(json.dumps(value, ensure_ascii=False, indent=indent), encoding="utf-8")
    before, json_stream._CHUNK = json_stream._CHUNK, chunk
    try:
        found = gathered(path)
    finally:
        json_stream._CHUNK = before

    assert found == {name: v if isinstance(v, list) else [v] for name, v in value.items()}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[1]", "expected a JSON object"),
        ("", "expected a JSON object"),
        ('{"images": [1, 2', "found 'the end of the file'"),
        ('{"images": [1 2]}', "expected one of , ]"),
        ('{"images": [{"a": ]}', "no valid JSON"),
        ('{"images": []} x', "more text"),
        ('{"images": [], "images": []}', "occurs twice"),
        ('{"images": [{"id": 1, "id": 2}]}', "names a field twice"),
        ('{"images": ' + "[" * 100_000, "nested too deep"),
    ],
)
def test_what_is_no_such_object_is_told_with_its_place(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)

    with pytest.raises(ConfigError, match=reason) as told:
        gathered(path)
    assert "character" in str(told.value)


def test_an_item_beyond_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file.json").write_text(json.dumps({"images": ["x" * 200]}))
    assert gathered(tmp_path / "file.json")
    monkeypatch.setattr(json_stream, "_CHUNK", 16)
    monkeypatch.setattr(json_stream, "MAX_ITEM_CHARS", 100)

    with pytest.raises(ConfigError, match="more than 100 characters"):
        gathered(tmp_path / "file.json")


def test_a_byte_order_mark_and_bytes_that_are_no_utf8(tmp_path: Path) -> None:
    (tmp_path / "mark.json").write_bytes(b'\xef\xbb\xbf{"images": [1]}')
    (tmp_path / "latin.json").write_bytes('{"images": ["é"]}'.encode("latin-1"))

    assert gathered(tmp_path / "mark.json") == {"images": [1]}
    with pytest.raises(ConfigError, match="not UTF-8"):
        gathered(tmp_path / "latin.json")
    with pytest.raises(NotFoundError):
        gathered(tmp_path / "nothing.json")


def test_lines_are_numbered_blank_ones_passed_over_and_bad_ones_are_rejections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_stream, "MAX_LINE_BYTES", 40)
    bad = ["[1]", '{"a": NaN}', '{"a": 1, "a": 2}', '{"a": "' + "x" * 60 + '"}']
    (tmp_path / "lines").write_text(
        "\ufeff" + "\n".join(['{"a": 1}', "", *bad, '{"a": 2}']), encoding="utf-8"
    )

    found = list(iter_lines(tmp_path / "lines"))

    assert [number for number, _ in found] == [1, 3, 4, 5, 6, 7]
    assert [line["a"] for _, line in found if isinstance(line, dict)] == [1, 2]
    assert sum(isinstance(line, SampleRejectedError) for _, line in found) == 4
