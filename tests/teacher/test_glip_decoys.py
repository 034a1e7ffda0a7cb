"""A whole job with a GLIP teacher and the bundled phrases, with and without decoys."""

from __future__ import annotations

from pathlib import Path

from engine.ledger.evidence import evidence_rows
from engine.ledger.snapshots.snapshots import latest_snapshot
from engine.storage.store import open_store
from pipelines.label.job import JobConfig
from pipelines.label.run import label
from tests.engine.worlds import write_shard

CAPTIONS = [
    "a red circle and a blue star",
    "the green ring of two red square",
    "a stock photo of a blue circle, the red ring and the green star of a blue square",
    "a star",
]


def rows_of(folder: Path, glip_folder: Path, name: str, **decoys: object) -> list[dict]:
    job = JobConfig.model_validate(
        {
            "input": {"urls": [str(folder / "a.tar")]},
            "phrases": {"pipeline": "lexicon"},
            "teacher": {"kind": "glip", "model": str(glip_folder)},
            "output": {"url": str(folder / name)},
            "run": {"executor": "local", "batch_size": 2},
            "decoys": decoys,
        }
    )
    label(job)
    store = open_store(str(folder / name))
    return list(evidence_rows(store, latest_snapshot(store)))


def test_a_glip_teachers_own_regions_are_the_same_floats_with_and_without_decoys(tmp_path, glip_folder):
    write_shard(tmp_path / "a.tar", CAPTIONS)
    (tmp_path / "pool.txt").write_text("kite\nbee\nbed\ndrum\n")

    plain = rows_of(tmp_path, glip_folder, "plain")
    asked = rows_of(tmp_path, glip_folder, "asked", share=1, per_image=3, pool=str(tmp_path / "pool.txt"))

    found = 0
    for one, row in zip(plain, asked, strict=True):
        own = len(one["phrases"])
        assert row["phrases"][:own] == one["phrases"] and one["regions"]
        assert [region for region in row["regions"] if region["phrase"] < own] == one["regions"]
        of_decoys = [region for region in row["regions"] if region["phrase"] >= own]
        last = max(region["pass_index"] for region in one["regions"])
        assert all(region["pass_index"] > last for region in of_decoys)
        found += len(of_decoys)
    assert found, "random weights say yes to anything"
