"""Pillow against simplejpeg on the photographs of a tar: milliseconds an image, and whether the pixels are equal.

python -m benchmarks.jpeg_decoders SHARD.tar      # one line a decoder
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import simplejpeg

from benchmarks.inputs import existing_file
from engine.reading.images import decode_image
from engine.reading.shards import open_shard
from engine.settings import InputSettings

DECODERS: dict[str, Callable[[bytes], np.ndarray]] = {
    "decode_image": lambda data: decode_image(data).rgb_u8,
    "simplejpeg": lambda data: simplejpeg.decode_jpeg(data),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Decode every photograph by each decoder, one thread."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shard", type=existing_file("a WebDataset tar with JPEGs"))
    path: Path = parser.parse_args(arguments).shard
    shard = open_shard(path, str(path), InputSettings(urls=("x",)).reading())
    images = list(shard.images([raw for raw in shard.samples(0, len(shard)) if raw.rejected is None]))
    expected = [decode_image(data).rgb_u8 for data in images]
    for name, decode in DECODERS.items():
        begun = time.perf_counter()
        decoded = [decode(data) for data in images]
        spent_ms = (time.perf_counter() - begun) * 1000 / len(images)
        equal = sum(np.array_equal(one, other) for one, other in zip(decoded, expected, strict=True))
        print(f"{name}: {spent_ms:.2f} ms an image, {equal} of {len(images)} equal to decode_image")


if __name__ == "__main__":
    main()
