"""A 64-bit hash of what an image looks like: the same for a copy that was resized or compressed again, nearly.

The signs of the 64 lowest frequencies against their median, of 32 x 32 grey values. Source: the DCT hash of the pHash
project, in its common 8 x 8 form. `benchmarks/perceptual_hash.py` measures what a distance means.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIDE, _KEPT = 32, 8
# Below this, frequencies of grey values 0..255 summed over the picture are rounding: plain areas all look alike.
_FLAT = 64.0
_WAVES = np.cos(np.pi / _SIDE * (np.arange(_SIDE) + 0.5) * np.arange(_KEPT)[:, None])


def perceptual_hash(rgb_u8: NDArray[np.uint8]) -> int | None:
    """The hash, 0..2**64-1; None for a picture without structure. rgb_u8: [H, W, 3]"""
    grey = Image.fromarray(rgb_u8).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    waves = (_WAVES @ np.asarray(grey, dtype=np.float64) @ _WAVES.T).flatten()
    if np.abs(waves[1:]).max() < _FLAT:
        return None
    bits = waves > np.median(waves[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def nearest(hash_64: int, known_N: NDArray[np.uint64]) -> int:
    """The smallest number of bits in which a hash differs from any of the known ones; 65 where there is none."""
    if not len(known_N):
        return 65
    return int(np.bitwise_count(known_N ^ np.uint64(hash_64)).min())
