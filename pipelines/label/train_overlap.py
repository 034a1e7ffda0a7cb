"""Whether a teacher labelled images that it was trained on: its scores there say nothing of others."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from engine.ledger.evidence import read_evidence
from engine.ledger.snapshots.snapshots import latest_snapshot, snapshot_entries
from engine.storage.store import Store
from schemas.errors import NotFound
from teacher.settings import GlipSettings, TeacherSettings

log = logging.getLogger(__name__)
# A snapshot may name millions of units; so many, spread evenly, are read.
_MOST_UNITS = 1000


def seen_in_training(store: Store, teacher: TeacherSettings) -> dict[str, Any]:
    """`{"seen_in_training": {"images", "of"}}` over the newest snapshot; empty for a teacher that does not say.

    Warns when there are any. Where a snapshot has more than a thousand units, a thousand of them are looked at.
    """
    from student.data.trained_images import FILE, digest_prefixes, read_trained_images

    if not isinstance(teacher, GlipSettings) or not (Path(teacher.model) / FILE).exists():
        return {}
    known, images, rows = read_trained_images(Path(teacher.model)), 0, 0
    try:
        snapshot = latest_snapshot(store)
    except NotFound:
        return {}
    every = -(-snapshot.totals.units // _MOST_UNITS) or 1
    for number, entry in enumerate(snapshot_entries(store, snapshot)):
        if number % every == 0:
            labelled = digest_prefixes(read_evidence(store, entry).column("image_sha256").to_pylist())
            images += int(np.isin(labelled, known).sum())
            rows += len(labelled)
    if images:
        log.warning(
            "the teacher was trained on %d of %d images that it labelled: its scores there are too good, and say "
            "nothing of other images",
            images,
            rows,
        )
    return {"seen_in_training": {"images": images, "of": rows}}
