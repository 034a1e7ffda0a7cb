"""An output that commit 47d028d began, and that was killed half way, is continued, verified and read.

The fixture holds the killed output and its shards. Unit names contain the shard's URL, so the shards are served from a
bucket of the same name. The output and the digest of an uninterrupted run were made at 47d028d with the small teacher.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.ledger.verify import verify
from engine.storage.filesystems import open_filesystem
from pipelines.label.job import JobConfig
from pipelines.label.run import label
from pipelines.labels.evidence import open_evidence
from tests.engine.s3_server import s3_bucket
from tests.engine.small_teacher import FACTORIES

FIXTURE = Path(__file__).parents[1] / "fixtures" / "killed_output_47d028d"
BUCKET = "groundswell-fixture"
DIGEST = "sha256:129a0ac6811403383fb9669894ab8ba97ebf0301166f0f87019ed9d4e5d25c0a"
SAMPLES = {"in": 30, "labelled": 28, "empty": 1, "rejected": {"TEACHER_ERROR": 1}}


@pytest.fixture
def job(tmp_path: Path) -> Iterator[JobConfig]:
    shutil.copytree(FIXTURE / "output", tmp_path / "output")
    (tmp_path / "teacher.json").write_text("{}")
    with s3_bucket(BUCKET) as (bucket, storage):
        filesystem = open_filesystem(bucket, storage)[0]
        for shard in (FIXTURE / "shards").iterdir():
            filesystem.pipe_file(f"{BUCKET}/{shard.name}", shard.read_bytes())
        sections = {
            "input": {
                "urls": [f"{bucket}/{{00..02}}.tar"],
                "unit_samples": 5,
                "storage": storage.model_dump(),
            },
            "teacher": {"kind": "detector", "model": str(tmp_path / "teacher.json")},
            "output": {"url": str(tmp_path / "output")},
            "run": {"executor": "local", "batch_size": 4},
        }
        yield JobConfig.model_validate(sections)


def records(output: Path) -> dict[str, bytes]:
    """Return commit records, attempts and data of an output, by path."""
    return {
        str(path.relative_to(output)): path.read_bytes()
        for folder in ("commits", "attempts", "data", "rejected")
        for path in (output / folder).rglob("*")
        if path.is_file()
    }


def test_a_killed_output_of_an_earlier_version_is_continued_to_the_digest_of_a_whole_run(
    job: JobConfig, tmp_path: Path
) -> None:
    before = records(tmp_path / "output")

    summary = label(job, factories=FACTORIES)

    assert (summary["digest"], summary["samples"]) == (DIGEST, SAMPLES)
    after = records(tmp_path / "output")
    assert {path: after[path] for path in before} == before
    redone = [path for path in after.keys() - before.keys() if path.split("/")[1] in committed(before)]
    assert redone == []
    assert verify(job.output.url)["digest"] == DIGEST
    assert sum(len(row["regions"]) for row in open_evidence(job.output.url).rows()) == summary["regions"]


def committed(paths: dict[str, bytes]) -> set[str]:
    """Return the names of the committed units."""
    return {path.split("/")[1] for path in paths if path.startswith("commits/")}
