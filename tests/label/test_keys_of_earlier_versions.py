"""An output that commit 47d028d wrote from Parquet shards: which units are redone now.

`keys_of_47d028d.zip` holds the shards (two rows each, in `s3://parquet-keys`) and the output without its logs:
keys `a, b` in text.parquet, whole numbers `1, 0` in whole.parquet, `a, null` in holes.parquet, no keys in none.parquet,
`a, b` in a column `__key__` in hub.parquet.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.ledger.evidence import read_evidence
from engine.ledger.snapshots.snapshots import latest_snapshot, snapshot_entries
from engine.ledger.verify_deep import InputVerifier
from engine.settings import InputSettings
from engine.storage.filesystems import open_filesystem
from engine.storage.store import open_store
from pipelines.label.job import JobConfig
from pipelines.label.plan.plan import plan
from pipelines.label.run import label
from tests.engine.s3_server import s3_bucket
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import job_of

NAMES = ("text", "whole", "holes", "none", "hub")
REDONE = {"whole", "holes", "hub"}
WHY = "the reading of keys changed"


@pytest.fixture
def job(tmp_path: Path) -> Iterator[JobConfig]:
    """Unpack the old output; return its job."""
    with zipfile.ZipFile(Path(__file__).with_name("keys_of_47d028d.zip")) as packed:
        packed.extractall(tmp_path)
    with s3_bucket() as (_, storage):
        filesystem = open_filesystem("s3://parquet-keys", storage)[0]
        filesystem.makedirs("parquet-keys", exist_ok=True)
        for name in NAMES:
            filesystem.pipe_file(
                f"parquet-keys/{name}.parquet", (tmp_path / "in" / f"{name}.parquet").read_bytes()
            )
        urls = [f"s3://parquet-keys/{name}.parquet" for name in NAMES]
        section = {"format": "parquet", "unit_samples": 2, "storage": storage.model_dump()}
        yield job_of(tmp_path, urls, input=section)


def name_of(url: str) -> str:
    return url.removeprefix("s3://parquet-keys/").removesuffix(".parquet")


def keys_of(output: str) -> dict[str, list[str]]:
    """Return the keys of the committed rows, by shard."""
    store = open_store(output)
    entries = snapshot_entries(store, latest_snapshot(store))
    return {name_of(entry.shard): read_evidence(store, entry)["key"].to_pylist() for entry in entries}


def test_only_units_with_wrong_keys_are_redone_and_plan_gives_the_reason(job: JobConfig) -> None:
    store = open_store(job.output.url)
    before = {name_of(entry.shard): entry for entry in snapshot_entries(store, latest_snapshot(store))}
    assert keys_of(job.output.url)["whole"] == ["1", "1"]

    report = plan(job, FACTORIES)
    why = {name_of(shard.url): shard.why for shard in report.shards}
    recorded = len(list(store.list("shards")))
    summary = label(job, factories=FACTORIES)
    after = {name_of(entry.shard): entry for entry in snapshot_entries(store, latest_snapshot(store))}

    assert why == {name: {WHY: 1} if name in REDONE else {} for name in NAMES}
    assert report.totals()["units_done"] == len(NAMES) - len(REDONE) and report.totals()["shards_unread"] == 0
    assert recorded == len(NAMES), "plan writes nothing"
    assert {name for name in NAMES if before[name] != after[name]} == REDONE
    assert {path.split("/")[1] for path in store.list("attempts")} == {after[name].unit for name in REDONE}
    assert keys_of(job.output.url) == {
        "text": ["a", "b"], "whole": ["1", "0"], "holes": ["a"], "none": ["0", "1"], "hub": ["a", "b"],
    }  # fmt: skip
    assert summary["samples"]["rejected"] == {"KEY_BAD": 1}
    again = plan(job, FACTORIES)
    assert not again.has_work and len(list(store.list("shards"))) == 2 * len(NAMES)


def test_a_deep_verification_names_the_wrong_keys(job: JobConfig) -> None:
    store = open_store(job.output.url)
    reader = InputVerifier(InputSettings.model_validate(job.input.model_dump()))

    said = {
        name_of(entry.shard): list(reader.problems(store, entry))
        for entry in snapshot_entries(store, latest_snapshot(store))
    }

    assert said["text"] == said["none"] == []
    assert said["whole"] == ["sample 1 ('0'): key is '0', labeled was '1'"]
    assert said["holes"] == ["sample 1 (''): labeled, reading it now rejects it with KEY_BAD"]
