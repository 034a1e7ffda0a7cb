"""The images of the benchmark: captioned JPEGs of photographic size and texture, in WebDataset shards."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 400, 300
CAPTION = "a dog beside the bench under a tree, seen from the road, number {index}"


def write_shards(folder: Path, shards: int, samples: int, seed: int = 0) -> list[Path]:
    """`shards` tars of `samples` images each."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    return [_write_shard(folder / f"{number:05d}.tar", samples, rng) for number in range(shards)]


def _write_shard(path: Path, samples: int, rng: np.random.Generator) -> Path:
    with tarfile.open(path, "w") as archive:
        for index in range(samples):
            key = f"{path.stem}{index:04d}"
            caption = CAPTION.format(index=index)
            about = json.dumps({"caption": caption, "key": key, "url": f"https://example.org/{key}.jpg"})
            for suffix, data in (("jpg", _jpeg(rng)), ("txt", caption.encode()), ("json", about.encode())):
                entry = tarfile.TarInfo(f"{key}.{suffix}")
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    return path


def _jpeg(rng: np.random.Generator) -> bytes:
    """About 40 kB: coarse shapes with fine grain, as a photograph of this size has."""
    coarse = rng.integers(0, 256, (HEIGHT // 20, WIDTH // 20, 3), np.uint8)
    image = np.asarray(Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), np.int16)
    grain = rng.normal(0, 8, (HEIGHT, WIDTH, 1)).astype(np.int16)
    sink = io.BytesIO()
    Image.fromarray(np.clip(image + grain, 0, 255).astype(np.uint8)).save(sink, "JPEG", quality=85)
    return sink.getvalue()
