"""Labeling images on which the teacher was trained is reported."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from engine.ledger.evidence import evidence_rows
from engine.ledger.snapshots.snapshots import latest_snapshot
from engine.storage.store import open_store
from pipelines.label.run import label
from pipelines.label.train_overlap import count_trained_images
from student.data.trained_images import FILE, digest_prefixes
from teacher.labelers.glip_settings import GlipSettings
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import job_of, plain_captions, write_shard


@pytest.fixture
def labeled(tmp_path: Path) -> str:
    """Label a job; return its output. The teacher is not needed again."""
    job = job_of(tmp_path, [write_shard(tmp_path / "a.tar", plain_captions(6))])
    label(job, factories=FACTORIES)
    return job.output.url


def test_images_that_the_teacher_was_trained_on_are_counted_and_warned_of(
    labeled: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(labeled)
    images = {row["image_sha256"] for row in evidence_rows(store, latest_snapshot(store))}
    one = sorted(images)[0]
    (tmp_path / FILE).write_bytes(np.sort(digest_prefixes([one, "cd" * 32])).astype(">u8").tobytes())
    rows = [row["image_sha256"] for row in evidence_rows(store, latest_snapshot(store))]

    with caplog.at_level(logging.WARNING):
        found = count_trained_images(store, GlipSettings(kind="glip", model=str(tmp_path)))

    assert found == {"images": rows.count(one), "of": 6}
    assert f"trained on {rows.count(one)} of the 6 images" in caplog.text


def test_a_teacher_without_a_list_of_trained_images_is_not_checked(labeled: str, tmp_path: Path) -> None:
    teacher = GlipSettings(kind="glip", model=str(tmp_path))

    assert count_trained_images(open_store(labeled), teacher) is None
