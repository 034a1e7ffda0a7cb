"""The same work as an idiomatic Ray Data pipeline.

read_webdataset, decode and phrases in tasks, the teacher in a pool of actors, write_parquet. Its own checkpointing is
off, which is the faster way.
"""

from __future__ import annotations

import hashlib
import io
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.engine.teacher import Finder, network_input, work


class Teacher:
    """One actor's state; a batch is a dictionary of columns."""

    def __init__(self, megabytes: int) -> None:
        self._megabytes = megabytes

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        regions = []
        for pixels, width, height, phrases in zip(
            batch["pixels"], batch["width"], batch["height"], batch["phrases"], strict=True
        ):
            work(self._megabytes, pixels)
            regions.append(
                [
                    {
                        "phrase": at,
                        "x0": 0.0,
                        "y0": 0.0,
                        "x1": width / 2,
                        "y1": height / (2 + at),
                        "score": 0.5,
                    }
                    for at in range(len(phrases))
                ]
            )
        kept = {
            name: batch[name] for name in ("key", "caption", "width", "height", "image_sha256", "phrases")
        }
        return {**kept, "regions": regions}


def ready(batch: dict[str, Any]) -> dict[str, Any]:
    """Decode, find phrases, make the network's input."""
    captions = [text if isinstance(text, str) else text.decode() for text in batch["txt"]]
    images = [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in batch["jpg"]]
    found = Finder().find(captions)
    return {
        "key": list(batch["__key__"]),
        "caption": captions,
        "width": [image.shape[1] for image in images],
        "height": [image.shape[0] for image in images],
        "image_sha256": [hashlib.sha256(data).hexdigest() for data in batch["jpg"]],
        "phrases": [[phrase.model_dump() for phrase in each.phrases] for each in found],
        "pixels": np.stack([network_input(image) for image in images]),
    }


def seconds(shards: list[Path], out: Path, actors: int, megabytes: int, batch_size: int) -> float:
    """Wall-clock seconds of the pipeline on the cluster that is connected."""
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    begun = time.perf_counter()
    (
        ray.data.read_webdataset([str(path) for path in shards], decoder=None)
        .map_batches(ready, batch_size=batch_size, num_cpus=0.5)
        .map_batches(
            Teacher,
            fn_constructor_kwargs={"megabytes": megabytes},
            batch_size=batch_size,
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=0.5,
        )
        .write_parquet(str(out))
    )
    return time.perf_counter() - begun
