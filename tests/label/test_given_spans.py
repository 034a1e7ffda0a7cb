"""Phrases given in the input reach the evidence exactly. A malformed one rejects its sample."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.ledger.evidence import evidence_rows
from engine.ledger.fingerprint import reading_digest
from engine.ledger.snapshots.snapshots import latest_snapshot
from engine.reading.captions import StoredCaption
from engine.reading.given_spans import parse_spans
from engine.reading.shards import open_shard
from engine.settings import InputSettings
from engine.storage.store import open_store
from engine.worker.find_phrases import find_phrases
from pipelines.label.plan.plan import plan
from pipelines.label.run import label
from pipelines.label.teacher_spec import Factories
from schemas.errors import ConfigError, SampleRejectedError, ShardDamagedError
from teacher.phrases.finder import SpacyPhraseFinder
from teacher.settings import PhraseSettings
from tests.engine.small_teacher import FACTORIES, HERE, SmallFinder
from tests.engine.worlds import job_of, picture, sample_members, tar_bytes

REAL_FINDER = Factories(labeler=f"{HERE}:labeler", labeler_digest=f"{HERE}:labeler_digest", takes_given=True)
BAD = [[[0, 99]], [[3, 3]], [[-1, 2]], [[True, 2]], [[0.0, 2]], [[1]], "0-2", {}, [[1, 2]], [[0, 5]] * 257]
GERMAN = "Der Hund spielt mit dem Ball im Garten"


def test_given_phrases_land_exactly_and_malformed_ones_reject_their_sample(tmp_path: Path) -> None:
    members = sample_members("a", "a\tred patch on 🐶 tiles", spans=[[17, 22], [0, 11], [0, 11]])
    members += sample_members("b", GERMAN, spans=[[0, 8]])
    members += sample_members("c", "a dog", spans=None) + sample_members("d", "a dog")
    for number, spans in enumerate(BAD):
        members += sample_members(f"bad{number}", "a dog", spans=spans)
    (tmp_path / "a.tar").write_bytes(tar_bytes(members))
    phrases = {"pipeline": "lexicon", "chunker": "given", "language": "given"}
    values = job_of(tmp_path, [tmp_path / "a.tar"], input={"spans": "json:spans"}).model_dump()
    job = type(job_of(tmp_path, ["x"])).model_validate(values | {"phrases": phrases})

    summary = label(job, factories=REAL_FINDER)

    store = open_store(job.output.url)
    rows = {row["key"]: row for row in evidence_rows(store, latest_snapshot(store))}
    said = {key: [(p["text"], p["kind"]) for p in row["phrases"]] for key, row in rows.items()}
    expected = {"a": [("tiles", "given"), ("a red patch", "given")], "b": [("Der Hund", "given")], "c": []}
    assert said == expected
    assert summary["samples"]["rejected"] == {"SPANS_BAD": len(BAD) + 1}
    with pytest.raises(ConfigError, match=r"input\.spans"):
        plan(job, FACTORIES)


@pytest.mark.parametrize("values", [{}, {"takes_given": False}])
def test_a_finder_that_takes_no_spans_ends_the_run(values: dict[str, bool]) -> None:
    finder = SmallFinder()
    vars(finder).update(values)

    with pytest.raises(ConfigError, match="SmallFinder takes no spans; remove input.spans"):
        find_phrases(finder, ["a dog"], [[(0, 5)]])


def test_spans_beyond_a_cut_go_with_it() -> None:
    assert parse_spans([[0, 2], [3, 9]], StoredCaption("ab cd", cut_from=9)) == ((0, 2),)
    with pytest.raises(SampleRejectedError, match="SPANS_BAD"):
        parse_spans([[3, 10]], StoredCaption("ab cd", cut_from=9))


def test_a_parquet_column_of_lists_gives_spans_and_another_type_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = {"image": [picture()] * 3, "txt": ["a dog"] * 3, "at": [[[0, 5]], None, [[0, 6]]], "n": [1, 2, 3]}
    pq.write_table(pa.table(table), path)

    def shard(column: str) -> list:
        reading = InputSettings(format="parquet", urls=("x",), spans=column).reading()
        return list(open_shard(path, "x", reading).samples(0, 3))

    raws = shard("at")
    assert [raw.spans for raw in raws] == [((0, 5),), (), ()]
    assert raws[2].rejected is not None and raws[2].rejected.code == "SPANS_BAD"
    for column in ("n", "nowhere"):
        with pytest.raises(ShardDamagedError, match="SHARD_SCHEMA"):
            shard(column)


def test_one_by_one_gives_what_batches_give() -> None:
    finder = SpacyPhraseFinder(PhraseSettings(pipeline="lexicon"))
    captions, spans = ["a red dog", "two cats", "a red dog"], [((2, 9),), (), ((0, 5),)]

    batch = find_phrases(finder, captions, spans)

    assert batch == [find_phrases(finder, [c], [s])[0] for c, s in zip(captions, spans)]


def test_the_reading_digest_changes_only_where_spans_are_named() -> None:
    before = "sha256:d01be1d6d13da9fdb8f8ca03e6f092663b43aa7e34656ff4d43dc8ef1a0129ce"
    assert reading_digest(InputSettings(urls=("x",))) == before
    assert reading_digest(InputSettings(urls=("x",), spans="json:s")) != before


def test_the_chunker_given_needs_spans(tmp_path: Path) -> None:
    job = job_of(tmp_path, ["x"])
    with pytest.raises(ValueError, match=r"input\.spans"):
        type(job).model_validate(job.model_dump() | {"phrases": {"chunker": "given"}})
