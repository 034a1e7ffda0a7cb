"""Jobs with decoys: what does not change, what is frozen when, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from engine.ledger.evidence import evidence_rows
from engine.ledger.snapshots.snapshots import latest_snapshot
from engine.ledger.unit_result import UnitResult, has_region
from engine.ledger.verify import verify
from engine.storage.store import Store, open_store
from pipelines.label.job import JobConfig
from pipelines.label.plan.plan import plan
from pipelines.label.retry import retry
from pipelines.label.run import label
from pipelines.label.verify_against_shards import verify_deep
from schemas.decoys import is_probe_noun
from schemas.errors import ConfigError, ConflictError
from tests.engine.decoy_worlds import animal_captions, decoy_job, pool_file
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import data_files, job_of, write_shard


def run(job: JobConfig, **options: Any) -> dict[str, Any]:
    return label(job, factories=FACTORIES, **options)


def rows_of(job: JobConfig) -> list[dict[str, Any]]:
    store = open_store(job.output.url)
    return list(evidence_rows(store, latest_snapshot(store)))


def decoys_of(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [phrase for phrase in row["phrases"] if phrase["kind"] == "decoy"]


def without_decoys(row: dict[str, Any]) -> dict[str, Any]:
    own = [number for number, phrase in enumerate(row["phrases"]) if phrase["kind"] != "decoy"]
    return {
        **row,
        "phrases": [row["phrases"][number] for number in own],
        "regions": [region for region in row["regions"] if region["phrase"] in own],
    }


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    return [write_shard(tmp_path / f"{n}.tar", animal_captions(18)) for n in range(2)]


def test_the_rows_of_a_sample_are_the_same_with_and_without_decoys(tmp_path: Path, shards) -> None:
    plain = job_of(tmp_path, shards, output={"url": str(tmp_path / "plain")})
    asked = decoy_job(tmp_path, shards, 0.5)

    summaries = run(plain), run(asked)

    assert summaries[0]["samples"] == summaries[1]["samples"]
    assert [without_decoys(row) for row in rows_of(asked)] == rows_of(plain)
    assert {bool(decoys_of(row)) for row in rows_of(asked)} == {True, False}, "a share of the images is asked"
    assert verify(str(tmp_path / "out"))["regions"] == summaries[1]["regions"] > summaries[0]["regions"]
    assert verify_deep(str(tmp_path / "out"))["digest"] == summaries[1]["digest"]


def test_decoys_have_no_span_a_pass_of_their_own_and_probe_nouns_alone(tmp_path: Path, shards) -> None:
    job = decoy_job(tmp_path, shards)
    run(job)

    for row in rows_of(job):
        assert 1 <= len(decoys_of(row)) <= 2
        for number, phrase in enumerate(row["phrases"]):
            is_decoy = phrase["kind"] == "decoy"
            assert is_decoy == (phrase["begin"] is None)
            assert not is_decoy or (is_probe_noun(phrase["root"]) and phrase["root"] not in row["caption"])
            assert {r["pass_index"] for r in row["regions"] if r["phrase"] == number} <= {int(is_decoy)}


def test_a_job_without_decoys_is_the_job_that_it_was(tmp_path: Path, shards) -> None:
    plain, off = job_of(tmp_path, shards), decoy_job(tmp_path, shards, share=0)

    assert plain.digest() == off.digest() and "decoys" not in plain.identity()
    assert run(off)["units"]["committed"] == 6
    assert not (tmp_path / "out" / "decoys").exists()


def test_a_sample_whose_only_boxes_are_of_decoys_is_empty(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", ["a dog on the boat"])
    job = decoy_job(tmp_path, [shard], decoys={"pool": str(pool_file(tmp_path))})
    run(job)
    [row] = rows_of(job)
    regions = [r for r in row["regions"] if row["phrases"][r["phrase"]]["kind"] == "decoy"]
    only_decoys = {**row, "regions": regions}

    assert only_decoys["regions"] and not has_region(only_decoys)
    assert UnitResult([only_decoys]).counts().empty == 1


def test_a_failing_second_pass_costs_the_decoys_and_nothing_else(tmp_path: Path) -> None:
    captions = ["a dog on the boat", "an undecoyable dog on the boat", "an undecided dog on the boat"]
    job = decoy_job(
        tmp_path, [write_shard(tmp_path / "a.tar", captions)], decoys={"pool": str(pool_file(tmp_path))}
    )

    summary = run(job)

    assert summary["samples"] == {"in": 3, "labelled": 3, "empty": 0, "rejected": {}}
    asked = [{phrase["groundable"] for phrase in decoys_of(row)} for row in rows_of(job)]
    assert asked == [{True}, {False}, {False}], "a decoy that was not answered is no observation"


def test_the_pool_is_frozen_and_not_drawn_again_for_a_changed_input(tmp_path: Path, shards) -> None:
    job = decoy_job(tmp_path, shards)
    first = run(job)
    kept = {path.name: path.read_bytes() for path in (tmp_path / "out/decoys").iterdir()}
    write_shard(shards[0], [caption.replace("whale", "spider") for caption in animal_captions(18)])
    more = write_shard(tmp_path / "more.tar", ["a castle with the piano"] * 3)

    again = run(decoy_job(tmp_path, [*shards, more]))

    assert {path.name: path.read_bytes() for path in (tmp_path / "out/decoys").iterdir()} == kept
    assert again["digest"] != first["digest"] and again["units"]["committed"] == 7
    attempts = {path.parent.parent.name for path in (tmp_path / "out/attempts").rglob("*.json")}
    assert len(attempts) == 7 and len(list((tmp_path / "out/commits").rglob("*.json"))) == 10, (
        "the replaced shard's three units and the new one; those of the other shard stand"
    )


def test_another_seed_is_another_pool_and_plan_names_the_change(tmp_path: Path, shards) -> None:
    run(decoy_job(tmp_path, shards))
    before = plan(decoy_job(tmp_path, shards), FACTORIES)

    report = plan(decoy_job(tmp_path, shards, decoys={"seed": 1}), FACTORIES)

    assert not before.has_work and before.data()["decoys"] != report.data()["decoys"]
    assert report.reasons() == {"the decoys changed": 6}
    assert len(list((tmp_path / "out/decoys").iterdir())) == 2, "plan writes nothing: one pool and its draw"


def test_a_pool_from_a_file_is_kept_and_a_changed_file_is_another_pool(tmp_path: Path, shards) -> None:
    path = pool_file(tmp_path)
    job = decoy_job(tmp_path, shards, decoys={"pool": str(path)})
    first = run(job)
    path.rename(tmp_path / "elsewhere.txt")

    assert retry(str(tmp_path / "out"), factories=FACTORIES)["digest"] == first["digest"]

    path.write_text("whale\nfrog\t9\nboat\ndrum\n")
    assert plan(job, FACTORIES).reasons() == {"the decoys changed": 6}
    elsewhere = next(p for p in (tmp_path / "out/decoys").iterdir() if "frozen" not in p.name)
    same = decoy_job(tmp_path, shards, decoys={"pool": str(elsewhere)})
    assert not plan(same, FACTORIES).has_work, (
        "a pool that an output keeps is that pool, wherever it is named"
    )


@pytest.mark.parametrize("damage", ["gone", "changed", "not utf-8"])
def test_a_frozen_pool_that_was_touched_stops_the_run(tmp_path: Path, shards, damage: str) -> None:
    job = decoy_job(tmp_path, shards)
    run(job)
    pool = next(path for path in (tmp_path / "out/decoys").iterdir() if "frozen" not in path.name)
    if damage == "gone":
        pool.unlink()
    else:
        pool.write_bytes(b"\xff" if damage == "not utf-8" else pool.read_bytes().replace(b"1", b"2", 1))

    with pytest.raises(ConflictError, match="restore it"):
        run(job)


def test_two_runs_that_draw_at_once_end_with_one_pool(tmp_path: Path, shards, monkeypatch) -> None:
    """The other run froze another pool after this one looked, because the input changed between."""
    job = decoy_job(tmp_path, shards)
    put = Store.put_if_absent

    def raced(store: Store, path: str, data: bytes) -> bool:
        if "frozen-" in path:
            other = json.loads(data) | {"pool": "sha256:" + "0" * 64}
            put(store, path, json.dumps(other).encode())
        return put(store, path, data)

    monkeypatch.setattr(Store, "put_if_absent", raced)
    with pytest.raises(ConflictError, match="run the same command again to use the frozen"):
        run(job)

    assert not list((tmp_path / "out").glob("commits/*"))


def test_a_plan_with_decoys_is_valid_only_with_its_pool(tmp_path: Path, shards) -> None:
    frozen = plan(decoy_job(tmp_path, shards), FACTORIES).plan

    assert run(decoy_job(tmp_path, shards), frozen=frozen)["units"]["committed"] == 6
    with pytest.raises(ConflictError, match="the pool of decoys is another one"):
        run(decoy_job(tmp_path, shards, decoys={"seed": 7}), frozen=frozen)


def test_a_teacher_that_takes_no_decoys_is_refused_before_work(tmp_path: Path, shards) -> None:
    with pytest.raises(ConfigError, match="does not support them"):
        label(decoy_job(tmp_path, shards), factories=replace(FACTORIES, has_decoys=False))


def test_captions_without_a_noun_give_no_pool_and_say_so(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", ["nothing to see here"] * 3)

    with pytest.raises(ConfigError, match="none of the 0 nouns"):
        run(decoy_job(tmp_path, [shard]))


def test_the_evidence_names_the_pool_of_its_decoys(tmp_path: Path, shards) -> None:
    run(decoy_job(tmp_path, shards))

    file = next(tmp_path.glob("out/data/*/*/*.parquet"))
    named = pq.read_schema(file).metadata[b"groundswell.decoys"].decode()
    assert (tmp_path / "out/decoys" / f"{named.removeprefix('sha256:')[:16]}.json").exists()


@pytest.mark.ray
def test_one_and_two_actors_ask_for_the_same_decoys(tmp_path: Path, shards, ray_cluster: None) -> None:
    outputs = {}
    for actors in (1, 2):
        run_on = {"executor": "ray", "actors": {"min": actors, "max": actors}, "cpus_per_actor": 0.5}
        job = decoy_job(tmp_path, shards, run=run_on, output={"url": str(tmp_path / f"ray-{actors}")})
        run(job)
        outputs[actors] = data_files(tmp_path / f"ray-{actors}")

    run(local := decoy_job(tmp_path, shards))
    assert outputs[1] == outputs[2] == data_files(Path(local.output.url))
