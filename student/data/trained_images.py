"""Which images a model was trained on: a small file in its folder, so that a teacher can tell what it has seen.

The first 64 bits of each image's sha256, sorted, 8 bytes an image; those of the model it started from are among them.
A stranger's image is taken for a known one with a chance of N / 2**64.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.views import open_view
from student.settings.train import TrainSettings

FILE = "trained_images.u64"
_BITS = np.dtype(">u8")


def write_trained(folder: Path, settings: TrainSettings) -> int:
    """Write the file of a model; how many images it names."""
    known = [read_trained(Path(settings.start))] if isinstance(settings.start, str) else []
    for stream in settings.streams:
        for table in open_view(stream.url, stream.storage).tables():
            known.append(prefixes(table.column("image_sha256").to_pylist()))
    return write_images(folder, *known)


def write_images(folder: Path, *known: NDArray[np.uint64]) -> int:
    """Write the file of a model that saw all of these prefixes; how many images they are."""
    images = np.unique(np.concatenate(known)).astype(_BITS)
    (folder / FILE).write_bytes(images.tobytes())
    return len(images)


def read_trained(folder: Path) -> NDArray[np.uint64]:
    """Sorted prefixes of the images that a model was trained on; none where its folder does not say."""
    path = folder / FILE
    return np.frombuffer(path.read_bytes() if path.exists() else b"", dtype=_BITS).astype(np.uint64)


def prefixes(sha256: Iterable[str]) -> NDArray[np.uint64]:
    """The first 64 bits of hexadecimal digests."""
    return np.array([int(digest[:16], 16) for digest in sha256], dtype=np.uint64)
