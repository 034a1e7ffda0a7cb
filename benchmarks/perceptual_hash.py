"""What a distance of perceptual hashes means: pairs of different photographs within it, copies beyond it.

    python -m benchmarks.perceptual_hash FOLDER...     # image files and tars of them, searched through

Files of equal bytes are one. Pairs that are near each other in a real collection may be one photograph twice, so the
closest pairs are named, to be looked at.
"""

from __future__ import annotations

import argparse
import io
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.inputs import existing_folder
from engine.reading.images import decode_image
from schemas.digests import sha256_hex
from schemas.errors import SampleRejectedError
from student.data.perceptual_hash import perceptual_hash

BOUNDS = (0, 2, 4, 6, 8, 10, 12)
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_SMALLEST_PX = 64


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=existing_folder("a folder of images or tars"))
    images = pictures(parser.parse_args(arguments).folders)
    hashes = {name: seen for name, image in images.items() if (seen := perceptual_hash(image)) is not None}
    distances = pair_distances(list(hashes.values()))
    print(f"{len(images)} images, {len(hashes)} with a hash, {len(distances)} pairs")
    print("| within | " + " | ".join(map(str, BOUNDS)) + " |\n|---" + "|---" * len(BOUNDS) + "|")
    print("| pairs | " + " | ".join(str(int((distances <= bound).sum())) for bound in BOUNDS) + " |")
    for what, change in CHANGES.items():
        moved = np.array([_hash_distance(images[name], seen, change) for name, seen in hashes.items()])
        print(f"| {what} | " + " | ".join(f"{(moved <= bound).mean():.1%}" for bound in BOUNDS) + " |")


def pictures(folders: list[Path]) -> dict[str, np.ndarray]:
    """RGB images by sha256, of files and tar members that decode and are not tiny."""
    found = {}
    for data in _files(folders):
        try:
            image = decode_image(data).rgb_u8
        except SampleRejectedError:
            continue
        if min(image.shape[:2]) >= _SMALLEST_PX:
            found[sha256_hex(data)] = image
    return found


def _files(folders: list[Path]) -> Iterator[bytes]:
    for path in sorted(path for folder in folders for path in folder.rglob("*")):
        if path.suffix.lower() in _SUFFIXES:
            yield path.read_bytes()
        elif path.suffix == ".tar":
            with tarfile.open(path) as tar:
                for member in tar:
                    file = tar.extractfile(member) if member.name.lower().endswith(_SUFFIXES) else None
                    if file is not None:
                        yield file.read()


def pair_distances(hashes: list[int]) -> np.ndarray:
    """Bits in which each two hashes differ."""
    known = np.array(hashes, dtype=np.uint64)
    return np.concatenate([np.bitwise_count(known[:i] ^ known[i]) for i in range(1, len(known))])


def _hash_distance(image: np.ndarray, seen: int, change: Callable[[Image.Image], Image.Image]) -> int:
    copy = perceptual_hash(np.asarray(change(Image.fromarray(image)).convert("RGB")))
    return 64 if copy is None else (copy ^ seen).bit_count()


def _shrink(image: Image.Image, times: int) -> Image.Image:
    return image.resize(
        (max(1, image.width // times), max(1, image.height // times)), Image.Resampling.BILINEAR
    )


def _compress(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "copies, JPEG quality 40": lambda image: _compress(image, 40),
    "copies at half size": lambda image: _shrink(image, 2),
    "copies at a third, JPEG quality 60": lambda image: _compress(_shrink(image, 3), 60),
}

if __name__ == "__main__":
    main()
