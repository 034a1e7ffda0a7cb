"""Count the labeled images that the teacher was trained on. Its scores on them are not representative."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from engine.ledger.evidence import read_evidence
from engine.ledger.snapshots.snapshots import latest_snapshot, snapshot_entries
from engine.storage.store import Store
from pipelines.label.summary import TrainOverlap
from schemas.errors import NotFoundError
from teacher.registry import TeacherSettings

log = logging.getLogger(__name__)
# A snapshot may name millions of units. This many, spread evenly, are read.
_MAX_UNITS = 1000


def count_trained_images(store: Store, teacher: TeacherSettings) -> TrainOverlap | None:
    """Count the newest snapshot's images that the teacher was trained on; None if its directory does not list them.

    Logs a warning if there are any. Of a snapshot with more than a thousand units, a thousand are read.
    """
    from student.data.trained_images import FILE, digest_prefixes, read_trained_images

    if not (Path(teacher.model) / FILE).exists():
        return None
    known, images, rows = read_trained_images(Path(teacher.model)), 0, 0
    try:
        snapshot = latest_snapshot(store)
    except NotFoundError:
        return None
    every = -(-snapshot.totals.units // _MAX_UNITS) or 1
    for number, entry in enumerate(snapshot_entries(store, snapshot)):
        if number % every == 0:
            labeled = digest_prefixes(read_evidence(store, entry).column("image_sha256").to_pylist())
            images += int(np.isin(labeled, known).sum())
            rows += len(labeled)
    if images:
        log.warning(
            "the teacher was trained on %d of the %d images that it labeled; its scores on them are too high, and not "
            "representative of other images",
            images,
            rows,
        )
    return {"images": images, "of": rows}
