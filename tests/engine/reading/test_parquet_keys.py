"""Keys of Parquet rows: exact, or rejected with their row; and shards whose keys earlier versions read wrongly."""

from __future__ import annotations

import datetime
import decimal
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.ledger.fingerprint import Fingerprints, build_parts, describe_changes, method_digests
from engine.ledger.plan import JobPlan
from engine.ledger.shard_facts import index_shard, load_facts, record_facts
from engine.reading.key_selection import SelectedShard, Selection
from engine.reading.shard_cache import stat_shard
from engine.reading.shard_sources import make_source
from engine.reading.shards import Shard, open_shard
from engine.settings import InputSettings
from engine.storage.store import open_store
from pipelines.label.run import label
from schemas.errors import ShardDamagedError
from schemas.ledger import ShardFacts
from schemas.settings import EvidenceSettings
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import job_of, list_units, picture, write_shard

IMAGE = picture()
LARGE = 2**64 - 1


def write_table(path: Path, keys: pa.Array | None, name: str = "key", **options: object) -> Path:
    rows = 3 if keys is None else len(keys)
    columns = {"image": [IMAGE] * rows, "caption": ["a red patch"] * rows}
    pq.write_table(pa.table(columns if keys is None else columns | {name: keys}), path, **options)
    return path


def opened(path: Path, **section: object) -> Shard:
    return open_shard(
        path, "s3://b/a.parquet", InputSettings(format="parquet", urls=("x",), **section).reading()
    )


def keys_of(path: Path) -> list[str | None]:
    """Return the key of each row, None for a rejected row."""
    shard = opened(path)
    return [None if raw.rejected else raw.key for raw in shard.samples(0, len(shard))]


@pytest.mark.parametrize(
    "keys",
    [
        *(pa.array([1, 0, 2], kind) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())),
        *(pa.array([1, 0, 2], kind) for kind in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())),
        *(pa.array([1, 0, 2], kind) for kind in (pa.float16(), pa.float32(), pa.float64())),
        pa.array([1, 0, 2]).cast(pa.decimal128(20, 0)),
        pa.array([decimal.Decimal(text) for text in ("1.00", "0.00", "2.00")], pa.decimal256(60, 2)),
        pa.array([1, 0, 2]).dictionary_encode(),
    ],
    ids=lambda keys: str(keys.type),
)
def test_a_whole_number_of_any_type_is_its_digits(tmp_path: Path, keys: pa.Array) -> None:
    assert keys_of(write_table(tmp_path / "a.parquet", keys, row_group_size=2)) == ["1", "0", "2"]


@pytest.mark.parametrize(
    ("keys", "texts"),
    [
        (pa.array([LARGE, LARGE - 1], pa.uint64()), [str(LARGE), str(LARGE - 1)]),
        (pa.array([-(2**63), 2**63 - 1]), [str(-(2**63)), str(2**63 - 1)]),
        (pa.array([12345678901234567.0, 1e300, -0.0]), ["12345678901234568", str(int(1e300)), "0"]),
        (pa.array([decimal.Decimal(10**37 + 1)], pa.decimal128(38, 0)), [str(10**37 + 1)]),
    ],
)
def test_large_numbers_keep_every_digit(tmp_path: Path, keys: pa.Array, texts: list[str]) -> None:
    assert keys_of(write_table(tmp_path / "a.parquet", keys)) == texts


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view(),
        pa.dictionary(pa.int32(), pa.string()),
    ],
    ids=str,
)  # fmt: skip
def test_text_of_any_type_is_the_key_as_it_is(tmp_path: Path, kind: pa.DataType) -> None:
    texts = [" a ", "a", "0", "00", "été\x00\n", "x" * 16_384]
    plain = pa.array(texts)
    keys = plain.dictionary_encode() if pa.types.is_dictionary(kind) else plain.cast(kind)

    assert keys_of(write_table(tmp_path / "a.parquet", keys)) == texts


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (pa.array(["a", None]), "row 1: column 'key' is null, expected a key"),
        (pa.array([1, None]), "row 1: column 'key' is null, expected a key"),
        (pa.array(["a", ""]), "row 1: column 'key' is empty, expected a key"),
        (pa.array([b"a", b"\xff\x00"]).view(pa.string()), "row 1: column 'key' holds bytes that are not UTF-8 (ff 00)"),
        (pa.array([b"a", b"\xff\x00"]), "row 1: column 'key' holds bytes that are not UTF-8 (ff 00); write"),
        (pa.array(["a", "x" * 16_385]), "row 1: column 'key' holds 16385 characters, at most 16384; shorten the key"),
        (pa.array([1.0, 1.5]), "row 1: column 'key' holds 1.5, expected a whole number; write keys as text"),
        (pa.array([1.0, float("nan")]), "row 1: column 'key' holds nan, expected a whole number"),
        (
            pa.array([1.0, float("-inf")], pa.float32()),
            "row 1: column 'key' holds -inf, expected a whole number",
        ),
        (pa.array([decimal.Decimal("1.0"), decimal.Decimal("1.5")]), "row 1: column 'key' holds 1.5"),
        (pa.array(["a", None]).dictionary_encode(), "row 1: column 'key' is null"),
    ],
)  # fmt: skip
def test_a_cell_that_is_no_key_rejects_its_row_by_number(tmp_path: Path, keys: pa.Array, words: str) -> None:
    good, bad = opened(write_table(tmp_path / "a.parquet", keys, row_group_size=1)).samples(0, 2)

    assert good.rejected is None and good.key in ("a", "1")
    assert bad.rejected is not None and (bad.rejected.code, bad.key) == ("KEY_BAD", "")
    assert bad.rejected.detail.startswith(words)


@pytest.mark.parametrize(
    "keys",
    [
        pa.array([True, False]),
        pa.array([None, None], pa.null()),
        pa.array([0, 1], pa.timestamp("us")),
        pa.array([datetime.date(2026, 1, 1)] * 2),
        pa.array([0, 1], pa.time64("us")),
        pa.array([bytes(16), bytes(15) + b"1"], pa.binary(16)),
        pa.array([["a"], ["b"]]),
        pa.array([{"a": 1}, {"a": 2}]),
    ],
    ids=lambda keys: str(keys.type),
)
def test_a_type_that_tells_no_key_refuses_the_shard(tmp_path: Path, keys: pa.Array) -> None:
    with pytest.raises(
        ShardDamagedError, match="column 'key' has type .*, expected keys: text.* or drop the column"
    ) as caught:
        opened(write_table(tmp_path / "a.parquet", keys))

    assert caught.value.code == "SHARD_SCHEMA"


def test_without_a_column_of_keys_a_position_is_the_key(tmp_path: Path) -> None:
    assert keys_of(write_table(tmp_path / "a.parquet", None)) == ["0", "1", "2"]


def test_the_key_column_of_webdataset_is_the_key_where_there_is_no_other(tmp_path: Path) -> None:
    keys = pa.array(["k0", "k1", "k2"])
    both = pa.table({"image": [IMAGE], "caption": ["a"], "__key__": ["other"], "key": ["own"]})
    pq.write_table(both, tmp_path / "both.parquet")

    assert keys_of(write_table(tmp_path / "a.parquet", keys, "__key__")) == ["k0", "k1", "k2"]
    assert keys_of(tmp_path / "both.parquet") == ["own"]


def test_a_column_that_is_the_image_is_no_key(tmp_path: Path) -> None:
    pq.write_table(pa.table({"key": [IMAGE, IMAGE], "caption": ["a", "b"]}), tmp_path / "a.parquet")

    assert keys_of(tmp_path / "a.parquet") == ["0", "1"]


def test_a_key_may_be_kept_beside_as_the_value_that_it_was(tmp_path: Path) -> None:
    raws = list(opened(write_table(tmp_path / "a.parquet", pa.array([5, 0])), keep=("key",)).samples(0, 2))

    assert [(raw.key, raw.meta) for raw in raws] == [("5", {"key": 5}), ("0", {"key": 0})]


COLUMNS = st.one_of(
    st.lists(st.one_of(st.none(), st.text()), min_size=1).map(lambda v: pa.array(v, pa.string())),
    st.lists(st.one_of(st.none(), st.binary(max_size=6)), min_size=1).map(lambda v: pa.array(v, pa.binary())),
    st.lists(st.one_of(st.none(), st.integers(0, LARGE)), min_size=1).map(lambda v: pa.array(v, pa.uint64())),
    st.lists(st.one_of(st.none(), st.integers(-9, 9)), min_size=1).map(lambda v: pa.array(v, pa.int8())),
    st.lists(st.one_of(st.none(), st.floats()), min_size=1).map(lambda v: pa.array(v, pa.float64())),
    st.lists(st.floats(width=16), min_size=1).map(lambda v: pa.array(v, pa.float16())),
    st.lists(st.decimals(-9, 9, places=2), min_size=1).map(lambda v: pa.array(v, pa.decimal128(9, 2))),
)


@settings(max_examples=100)
@given(COLUMNS, st.booleans())
@example(pa.array([1, 0, 2], pa.uint64()), False)
def test_keys_are_exact_and_distinct_or_their_rows_are_rejected(
    tmp_path_factory: pytest.TempPathFactory, keys: pa.Array, encoded: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "keys.parquet"
    stored = keys.dictionary_encode() if encoded and pa.types.is_binary(keys.type) else keys

    found = keys_of(write_table(path, stored))

    for value, key in zip(keys.to_pylist(), found, strict=True):
        if isinstance(value, str | bytes):
            data = value.encode() if isinstance(value, str) else value
            valid = data != b"" and data.decode("utf-8", "replace").encode() == data
            assert key == (data.decode() if valid else None)
        else:
            whole = (
                value is not None and value == value and abs(value) != float("inf") and value == int(value)
            )
            assert key == (str(int(value)) if whole else None)
    kept = [(value, key) for value, key in zip(keys.to_pylist(), found, strict=True) if key is not None]
    assert len({value for value, _ in kept}) == len({key for _, key in kept})


def test_a_row_without_a_key_is_no_row_that_was_not_asked_for(tmp_path: Path) -> None:
    shard = SelectedShard(
        opened(write_table(tmp_path / "a.parquet", pa.array([1, None, 0, 1.5]))), frozenset({"0", "1"})
    )

    fates = [raw.rejected.code if raw.rejected else raw.key for raw in shard.samples(0, 4)]

    assert fates == ["1", "KEY_BAD", "0", "KEY_BAD"]


def test_a_job_counts_rows_without_keys_and_labels_the_others(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.parquet", pa.array([1.0, None, 0.0]))

    summary = label(job_of(tmp_path, [path], input={"format": "parquet"}), factories=FACTORIES)

    assert summary["samples"]["rejected"] == {"KEY_BAD": 1} and summary["samples"]["labelled"] == 2
    rows = [
        row
        for file in (tmp_path / "out" / "data").rglob("*.parquet")
        for row in pq.read_table(file).to_pylist()
    ]
    assert [(row["index"], row["key"]) for row in rows] == [(0, "1"), (2, "0")]


# Computed at 47d028d, before keys had a part: two units of a shard s3://b/a of three samples, sha256 "ab" * 32.
BEFORE = {
    "webdataset": [
        "sha256:59bf3771255b6dc173f29e3ef10e7037bda65877f89a000cfbf2a1649a097d25",
        "sha256:5b0c84dad4c0cc10ab437245bc0261a832ef197accfae96e4c29266891e7df6f",
    ],
    "webdataset, a subset": [
        "sha256:51fd07f9b99b5ec016130cf221911f53238d9a8555a53cd9974b58b386cfd1a1",
        "sha256:cd642391c1c4ee9075e34fc0e6d40584843d511ad6ae3f9faa26168db7a66c32",
    ],
    "parquet": [
        "sha256:68f915ccccf72461ed7c65e67f3bad50da7244a4d1f8b311727dbce006cfa2c0",
        "sha256:905422ec7a52778952580b78e4b7d347ae865c605887feba960b0224a31bff1f",
    ],
    "parquet, a subset": [
        "sha256:3bb21db0217c7965cd8681035b4e773d70bc44f6563c5742b9e0806a35768993",
        "sha256:9858444aa81508ee7eb9cb7a1f1b2d2152f7fb4e71cde3505ebb7fafd1732811",
    ],
}


def fingerprints(path: Path, form: str, subset: bool = False) -> list[str]:
    """Return the fingerprints of a shard's units with the facts of `path`, but with the fixed names of `BEFORE`."""
    section = InputSettings(format=form, urls=("x",))
    method = method_digests(section, EvidenceSettings(), "sha256:teacher", "sha256:phrases")
    facts = index_shard(stat_shard(str(path)), make_source(section))
    plan = JobPlan("sha256:job", method, 2, ["s3://b/a"], Selection(frozenset("k")) if subset else None)
    plan.split_shard(facts.model_copy(update={"url": "s3://b/a", "sha256": "ab" * 32, "samples": 3}))
    found = [plan.fingerprint(unit) for unit in list_units(plan)]
    assert found == [plan.parts(unit).fingerprint() for unit in list_units(plan)]
    return found


@pytest.mark.parametrize("subset", [False, True], ids=["all samples", "a subset"])
def test_shards_whose_keys_were_right_keep_their_fingerprints(tmp_path: Path, subset: bool) -> None:
    text = write_table(tmp_path / "text.parquet", pa.array(["b", "a ", "été"]))
    none = write_table(tmp_path / "none.parquet", None)
    tar = write_shard(tmp_path / "a.tar", ["a red patch"] * 3)
    more = ", a subset" if subset else ""

    assert fingerprints(tar, "webdataset", subset) == BEFORE["webdataset" + more]
    assert fingerprints(text, "parquet", subset) == BEFORE["parquet" + more]
    assert fingerprints(none, "parquet", subset) == BEFORE["parquet" + more]


@pytest.mark.parametrize("subset", [False, True], ids=["all samples", "a subset"])
@pytest.mark.parametrize(
    "keys",
    [
        pa.array([1, 0, 2]),
        pa.array([1.0, 3.0, 2.0]),
        pa.array(["a", None, "b"]),
        pa.array(["a", "", "b"]),
        pa.array([b"a", b"\xff", b"b"]).view(pa.string()),
        pa.array(["a", "x" * 16_385, "b"]),
    ],
    ids=["whole", "float", "null", "empty", "not UTF-8", "long"],
)
def test_shards_whose_keys_were_wrong_have_other_fingerprints(
    tmp_path: Path, keys: pa.Array, subset: bool
) -> None:
    found = fingerprints(write_table(tmp_path / "a.parquet", keys, row_group_size=1), "parquet", subset)

    assert not set(found) & {one for group in BEFORE.values() for one in group}


def test_a_part_that_is_absent_is_left_out_of_every_record(tmp_path: Path) -> None:
    section = InputSettings(format="parquet", urls=("x",))
    method = method_digests(section, EvidenceSettings(), "sha256:teacher", "sha256:phrases")
    path = write_table(tmp_path / "a.parquet", pa.array([1, 0]))
    facts = index_shard(stat_shard(str(path)), make_source(section))
    plan = JobPlan("sha256:job", method, 2, [facts.url])
    plan.split_shard(facts)
    unit = list_units(plan)[0]
    without = build_parts(unit, method)

    assert "keys" not in json.loads(without.model_dump_json())
    assert json.loads(plan.parts(unit).model_dump_json())["keys"] == "exact"
    assert (
        describe_changes(without, plan.parts(unit))
        == describe_changes(plan.parts(unit), without)
        == ["the reading of keys changed"]
    )
    fast = Fingerprints(method).of(unit.input_digest, unit.first, unit.count, keys="exact")
    assert fast == plan.parts(unit).fingerprint() != without.fingerprint()


def bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.parametrize(("keys", "form"), [(["a", "b"], "plain"), (["a", ""], "exact"), ([1, 0], "exact")])
def test_a_shard_that_an_earlier_version_read_is_looked_at_for_its_keys_alone(
    tmp_path: Path, keys: list[object], form: str
) -> None:
    images = [bytes([n]) * 10_000_000 for n in range(2)]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": images, "caption": ["a", "b"], "key": keys}), path, compression="none",
                   use_dictionary=False)  # fmt: skip
    section = InputSettings(format="parquet", urls=("x",))
    stat, store = stat_shard(str(path)), open_store(str(tmp_path / "out"))
    facts = index_shard(stat, make_source(section))
    old = facts.model_dump(mode="json", exclude={"keys"})
    name = "\n".join(["parquet", "2", stat.version, str(stat.size_bytes)])  # as 47d028d named it
    store.put(old_facts_path(stat.url, name), json.dumps(old).encode())

    before = bytes_read()
    known = load_facts(store, stat, section)
    cost = bytes_read() - before

    assert (
        known is not None and known.facts == facts == ShardFacts(**old, keys=form) and not known.is_recorded
    )
    assert cost < 1_000_000 < 20_000_000 < path.stat().st_size
    record_facts(store, stat, section, known.facts)
    again = load_facts(store, stat, section)
    assert again is not None and again == (facts, True)


def old_facts_path(url: str, seen: str) -> str:
    from hashlib import sha256

    from schemas.ledger import unit_name

    return f"shards/{unit_name(url, 0)[:16]}/{sha256(seen.encode()).hexdigest()[:16]}.json"


def test_facts_of_a_tar_are_found_under_the_name_that_earlier_versions_gave_them(tmp_path: Path) -> None:
    tar = write_shard(tmp_path / "a.tar", ["a red patch"])
    section = InputSettings(urls=("x",))
    stat, store = stat_shard(str(tar)), open_store(str(tmp_path / "out"))
    facts = index_shard(stat, make_source(section))
    name = "\n".join(["webdataset", "2", stat.version, str(stat.size_bytes)])
    store.put(old_facts_path(stat.url, name), facts.model_dump_json().encode())

    assert load_facts(store, stat, section) == (facts, True)
    assert "keys" not in json.loads(facts.model_dump_json())
