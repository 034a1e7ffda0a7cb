"""The floor: bare single-threaded loops over the same steps, one process per core, without ledger or recovery.

Each process takes every n-th shard: tar members, JPEG decode, phrases, the teacher batch by batch, one Parquet file a
shard. A barrier starts the clock when all processes have imported what they need.
"""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.engine.teacher import Finder, network_input, work


def seconds(shards: list[Path], out: Path, processes: int, megabytes: int, batch_size: int) -> float:
    """Wall-clock seconds from the barrier to the end of the last process."""
    out.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes + 1)
    workers = [
        context.Process(target=_loop, args=(shards[rank::processes], out, megabytes, batch_size, barrier))
        for rank in range(processes)
    ]
    for worker in workers:
        worker.start()
    barrier.wait()
    begun = time.perf_counter()
    for worker in workers:
        worker.join()
    took_s = time.perf_counter() - begun
    if any(worker.exitcode for worker in workers):
        raise RuntimeError("a bare loop failed; its traceback is above")
    return took_s


def rows_of(out: Path) -> int:
    """Rows that were written."""
    return sum(pq.read_metadata(path).num_rows for path in out.rglob("*.parquet"))


def _loop(shards: list[Path], out: Path, megabytes: int, batch_size: int, barrier: Any) -> None:
    finder = Finder()
    barrier.wait()
    for shard in shards:
        rows: list[dict[str, Any]] = []
        batch: list[tuple[str, str, bytes]] = []
        for sample in samples(shard):
            batch.append(sample)
            if len(batch) == batch_size:
                rows += label(batch, finder, megabytes)
                batch = []
        rows += label(batch, finder, megabytes)
        pq.write_table(pa.Table.from_pylist(rows), out / f"{shard.stem}.parquet", compression="zstd")


def samples(shard: Path) -> Iterator[tuple[str, str, bytes]]:
    """(key, caption, image bytes) in order."""
    members: dict[str, bytes] = {}
    with tarfile.open(shard, "r:") as archive:
        for entry in archive:
            key, _, suffix = entry.name.partition(".")
            file = archive.extractfile(entry)
            members[suffix] = file.read() if file else b""
            if len(members) == 3:
                yield key, members["txt"].decode(), members["jpg"]
                members = {}


def label(batch: list[tuple[str, str, bytes]], finder: Finder, megabytes: int) -> list[dict[str, Any]]:
    """Rows with the same content as evidence has: image facts, phrases, regions."""
    phrases = finder.find([caption for _, caption, _ in batch])
    images = [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for _, _, data in batch]
    rows = []
    for (key, caption, data), image, found in zip(batch, images, phrases, strict=True):
        work(megabytes, network_input(image))
        height, width = image.shape[:2]
        rows.append(
            {
                "key": key,
                "caption": caption,
                "width": width,
                "height": height,
                "image_sha256": hashlib.sha256(data).hexdigest(),
                "phrases": [phrase.model_dump() for phrase in found.phrases],
                "regions": [
                    {
                        "phrase": index,
                        "x0": 0.0,
                        "y0": 0.0,
                        "x1": width / 2,
                        "y1": height / (2 + index),
                        "score": 0.5,
                    }
                    for index in range(len(found.phrases))
                ],
            }
        )
    return rows
