"""Small evidence, committed by the engine's own functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.ledger.commits import commit_unit, put_record, to_snapshot_entry
from engine.ledger.snapshots.segments import write_segment
from engine.ledger.snapshots.set_digest import SetDigest
from engine.ledger.snapshots.snapshots import snapshot_path
from engine.ledger.unit_result import UnitResult
from engine.storage.store import Store, open_store
from pipelines.compile.apply import apply_policy
from pipelines.compile.gold_mask import GoldBox
from pipelines.compile.policy import Policy
from schemas.digests import canonical_json
from schemas.ledger import FingerprintParts, Snapshot, SnapshotEntry, Unit
from schemas.settings import EvidenceSettings

SHARD = "s3://web/00000.tar"
DEFAULTS = EvidenceSettings()
CAPTION = "a dog beside a lynx"


@dataclass(frozen=True)
class CompiledRow:
    """One view row and what the policy did."""

    row: dict
    dropped: Counter[str]
    ignored: Counter[str]
    numbers: Counter[str]
    merged: int


def compile_row(row: dict, policy: Policy, gold: Sequence[GoldBox] = ()) -> CompiledRow:
    """Compile one evidence row alone."""
    found = apply_policy([row], policy, [gold])
    return CompiledRow(found.rows[0], found.dropped, found.ignored, found.numbers, found.merged)


def _row(unit: str, index: int, regions: list[tuple]) -> dict:
    """regions: (phrase, x0, y0, x1, y1, score)."""
    chunk = {"kind": "chunk", "groundable": True, "truncated": False}
    names = ("phrase", "x0", "y0", "x1", "y1", "score")
    extra = {"class_score": None, "quality": None, "pass_index": 0}
    return {
        "unit": unit,
        "shard": SHARD,
        "index": index,
        "key": f"{index:09d}",
        "pixels": {"url": SHARD, "offset": 512, "length": 10},
        "image_sha256": "0" * 64,
        "meta": "{}",
        "width": 200,
        "height": 100,
        "exif_orientation": 1,
        "caption": CAPTION,
        "phrases": [
            {"begin": 0, "end": 5, "text": "a dog", "root": "dog", **chunk},
            {"begin": 13, "end": 19, "text": "a lynx", "root": "lynx", **chunk},
        ],
        "dropped_phrases": [],
        "regions": [dict(zip(names, region, strict=True)) | extra for region in regions],
    }


def put_snapshot(store: Store, version: int, entries: list[SnapshotEntry], planned: int) -> Snapshot:
    """Write a snapshot of entries as they are. Nothing checks their sums."""
    digest = SetDigest().add((entry.unit, entry.rows_digest) for entry in entries)
    segments = (write_segment(store, entries, version),)
    snapshot = Snapshot(
        version=version,
        job_digest="sha256:job",
        planned=planned,
        totals=segments[0].totals,
        digest=digest.value(),
        digest_state=digest.encode(),
        segments=segments,
    )
    put_record(store, snapshot_path(version), snapshot)
    return snapshot


@pytest.fixture
def write_evidence() -> Callable[..., Snapshot]:
    """write_evidence(folder, units, settings=, score_kinds=, planned=): units are lists of lists of regions.

    A unit's samples come in index order; None is a sample that was rejected.
    """

    def write(
        folder: Path,
        units: list[list[list[tuple] | None]],
        settings: EvidenceSettings = DEFAULTS,
        score_kinds: tuple[str, ...] = ("test.score",),
        planned: int | None = None,
    ) -> Snapshot:
        store = open_store(str(folder))
        entries = []
        for number, samples in enumerate(units):
            name = f"{number:016d}-00000000"
            unit = Unit(name=name, shard=SHARD, input_digest="sha256:0", first=0, count=len(samples))
            parts = FingerprintParts(
                input="i", first=0, count=len(samples), reading="r", teacher="t", phrases="p", decoys="d",
                evidence=settings.digest(), schema_version="1.0",
            )  # fmt: skip
            metadata = {
                "groundswell.score_kind": score_kinds[number % len(score_kinds)],
                "groundswell.evidence": canonical_json(settings.model_dump(mode="json")).decode(),
            }
            result = UnitResult(
                rows=[_row(name, i, regions) for i, regions in enumerate(samples) if regions is not None],
                rejections=[
                    {"unit": name, "index": i, "key": str(i), "code": "IMG_DECODE", "detail": ""}
                    for i, regions in enumerate(samples)
                    if regions is None
                ],
            )
            entries.append(to_snapshot_entry(commit_unit(store, unit, parts, result, metadata)))
        return put_snapshot(store, 1, entries, planned or len(units))

    return write
