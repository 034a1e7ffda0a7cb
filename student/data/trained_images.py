"""The images that a model was trained on, as a small file in its folder. A teacher's scores on them are too good.

The file has the first 64 bits of each image's sha256, sorted, 8 bytes per image. It includes the images of the model
that the training started from. An unrelated image matches with a chance of N / 2**64.
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


def write_trained_images(folder: Path, settings: TrainSettings) -> int:
    """Write the file of a trained model. Return the number of images."""
    known = [read_trained_images(Path(settings.start))] if isinstance(settings.start, str) else []
    for stream in settings.streams:
        for table in open_view(stream.url, stream.storage).tables():
            known.append(digest_prefixes(table.column("image_sha256").to_pylist()))
    return write_prefixes(folder, *known)


def write_prefixes(folder: Path, *known: NDArray[np.uint64]) -> int:
    """Write the file of a model that was trained on all of these prefixes. Return the number of images."""
    images = np.unique(np.concatenate(known)).astype(_BITS)
    (folder / FILE).write_bytes(images.tobytes())
    return len(images)


def read_trained_images(folder: Path) -> NDArray[np.uint64]:
    """Return sorted prefixes of the images that a model was trained on; empty if its folder has no file."""
    path = folder / FILE
    return np.frombuffer(path.read_bytes() if path.exists() else b"", dtype=_BITS).astype(np.uint64)


def digest_prefixes(sha256: Iterable[str]) -> NDArray[np.uint64]:
    """Return the first 64 bits of hexadecimal digests."""
    return np.array([int(digest[:16], 16) for digest in sha256], dtype=np.uint64)
