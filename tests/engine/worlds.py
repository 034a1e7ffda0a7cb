"""Small inputs for tests of the engine: images, shards and jobs."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from engine.ledger.fingerprint import MethodDigests
from engine.ledger.plan import JobPlan
from engine.ledger.snapshots.publisher import Publisher
from engine.storage.store import Store
from pipelines.label.job import JobConfig
from schemas.ledger import FailedUnit, ShardFacts, Snapshot, SnapshotEntry, Unit

COLORS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220)}


def picture(color: str = "red", width: int = 48, height: int = 32, suffix: str = "PNG") -> bytes:
    """Return a dark picture with one bright patch."""
    pixels = np.full((height, width, 3), 16, np.uint8)
    pixels[4 : height // 2, 4 : width // 2] = COLORS[color]
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, suffix)
    return sink.getvalue()


def tar_bytes(members: Iterable[tuple[str, bytes]], kind: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a tar as Python writes it."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=kind) as archive:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return sink.getvalue()


def sample_members(key: str, caption: str, color: str = "red", **fields: Any) -> list[tuple[str, bytes]]:
    """Return image, text and json of one sample in the layout of img2dataset."""
    about = json.dumps({"caption": caption, "key": key, **fields}).encode()
    return [(f"{key}.png", picture(color)), (f"{key}.txt", caption.encode()), (f"{key}.json", about)]


def write_shard(path: Path, captions: Iterable[str]) -> Path:
    """Write a shard with one sample per caption, with the colors in turn."""
    colors = list(COLORS)
    members = [
        member
        for index, caption in enumerate(captions)
        for member in sample_members(f"{index:05d}", caption, colors[index % 3])
    ]
    path.write_bytes(tar_bytes(members))
    return path


def plain_captions(count: int) -> list[str]:
    """Return captions with two phrases each."""
    return [f"a {list(COLORS)[index % 3]} patch on the wall number {index}" for index in range(count)]


def publish(
    store: Store, plan: JobPlan, entries: Iterable[SnapshotEntry], failed: Iterable[FailedUnit]
) -> Snapshot:
    """Publish once, with a publisher that knows nothing yet."""
    return Publisher(store, plan).publish({entry.unit: entry for entry in entries}, failed)


def list_units(plan: JobPlan) -> list[Unit]:
    """Return the units of the shards that were read, in plan order."""
    return [unit for url in plan.shards for unit in plan.units_of(url)]


def units_of(facts: ShardFacts, unit_samples: int) -> list[Unit]:
    """Return the units that a plan splits a shard into."""
    method = MethodDigests(reading="r", teacher="t", phrases="p", evidence="e")
    plan = JobPlan("sha256:job", method, unit_samples, [facts.url])
    plan.split_shard(facts)
    return list_units(plan)


def job_of(folder: Path, urls: Iterable[str | Path], **changes: Any) -> JobConfig:
    """Return a job for the small teacher that writes to `folder/out`. Changes are by section: run={...}."""
    options = folder / "teacher.json"
    if not options.exists():
        options.write_text("{}")
    sections: dict[str, dict[str, Any]] = {
        "input": {"urls": [str(url) for url in urls], "unit_samples": 8},
        "teacher": {"kind": "detector", "model": str(options)},
        "output": {"url": str(folder / "out")},
        "run": {"executor": "local", "batch_size": 4},
        "evidence": {},
    }
    for section, values in changes.items():
        sections[section] = sections[section] | values
    return JobConfig.model_validate(sections)


def data_files(output: Path) -> dict[str, bytes]:
    """Return every data and rejection file of an output by relative path."""
    return {
        str(path.relative_to(output)): path.read_bytes()
        for folder in ("data", "rejected")
        for path in sorted((output / folder).rglob("*.parquet"))
    }
