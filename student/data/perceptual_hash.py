"""A 64-bit hash of an image's look: nearly the same for a copy that was resized or compressed again.

The bits are the signs of the 64 lowest frequencies against their median, for 32 x 32 gray values. Source: the DCT hash
of the pHash project, in its common 8 x 8 form. `benchmarks/perceptual_hash.py` measures what a distance means.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIDE, _FREQUENCIES = 32, 8
# Below this, frequencies of gray values 0..255 summed over the picture are rounding: all plain areas look alike.
_FLAT = 64.0
_WAVES = np.cos(np.pi / _SIDE * (np.arange(_SIDE) + 0.5) * np.arange(_FREQUENCIES)[:, None])


def perceptual_hash(rgb_u8: NDArray[np.uint8]) -> int | None:
    """Return the hash, 0..2**64-1; None for a picture without structure.

    rgb_u8: [H, W, 3]
    """
    gray = Image.fromarray(rgb_u8).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    waves = (_WAVES @ np.asarray(gray, dtype=np.float64) @ _WAVES.T).flatten()
    if np.abs(waves[1:]).max() < _FLAT:
        return None
    bits = waves > np.median(waves[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def nearest(hash_64: int, known_N: NDArray[np.uint64]) -> int:
    """Return the smallest number of bits in which a hash differs from any of the known ones; 65 if there are none."""
    if not len(known_N):
        return 65
    return int(np.bitwise_count(known_N ^ np.uint64(hash_64)).min())
