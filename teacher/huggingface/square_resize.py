"""Resize an image as OWLv2's image processor does: padded to a square, smoothed, interpolated, and never rounded.

`Owlv2ImageProcessorPil` filters and interpolates the whole square in 64-bit floats. Both steps are linear in each axis,
so here they are one sparse matrix per axis, and the padding is never computed with. Results agree within 1e-5 of a
normalized pixel.
"""

# N pixels of a side of the square, O pixels of a side of the result
from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from teacher.huggingface.images import ImageRgb

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_TRUNCATE = 4.0
"""Radius of the Gaussian in standard deviations: the default of `scipy.ndimage`."""
_CACHED_SIDES = 64


def resize_square(image_rgb_u8: ImageRgb, side: int) -> npt.NDArray[np.float32]:
    """Return the image as [side, side, 3], values 0..255. Black padding, right and below, makes it square."""
    height, width = image_rgb_u8.shape[:2]
    axis_ON = _make_axis(max(height, width), side)
    rows, columns = axis_ON[:, :height], axis_ON[:, :width]
    resized = np.empty((side, side, 3), dtype=np.float32)
    for channel in range(3):
        shorter = rows @ image_rgb_u8[..., channel].astype(np.float32)
        resized[..., channel] = (columns @ np.ascontiguousarray(shorter.T)).T
    return resized


@lru_cache(maxsize=_CACHED_SIDES)
def _make_axis(before: int, after: int) -> csr_array:
    """Return the matrix [O, N] that smooths and interpolates one axis."""
    return (_interpolate(before, after) @ _smooth(before, after)).astype(np.float32).tocsr()


def _smooth(before: int, after: int) -> csr_array:
    """Return the matrix [N, N] of the Gaussian filter that prevents aliasing. It is the identity for an enlargement."""
    sigma = max(0.0, (before / after - 1) / 2)
    radius = int(_TRUNCATE * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2) if sigma > 0 else np.ones(1)
    places = np.arange(before)
    sources = _mirror(places[:, None] + offsets, before)
    return _make_sparse(np.broadcast_to(weights / weights.sum(), sources.shape), sources, before)


def _interpolate(before: int, after: int) -> csr_array:
    """Return the matrix [O, N] of linear interpolation between the centers of pixels."""
    centers = (np.arange(after) + 0.5) * (before / after) - 0.5
    first = np.floor(centers)
    share = centers - first
    sources = _mirror(np.stack([first, first + 1], axis=1).astype(np.int64), before)
    return _make_sparse(np.stack([1 - share, share], axis=1), sources, before)


def _mirror(places: npt.NDArray[np.int64], length: int) -> npt.NDArray[np.int64]:
    """Return places beyond an end as places before it. The outermost pixel is not repeated."""
    period = max(2 * (length - 1), 1)
    folded = places % period
    return np.minimum(folded, period - folded) if length > 1 else np.zeros_like(places)


def _make_sparse(weights: npt.NDArray[np.float64], sources: npt.NDArray[np.int64], columns: int) -> csr_array:
    """Return a matrix with one row per row of `sources`. Weights of equal sources add up."""
    from scipy.sparse import coo_array

    rows = np.broadcast_to(np.arange(len(sources))[:, None], sources.shape)
    entries = (weights.ravel(), (rows.ravel(), sources.ravel()))
    return coo_array(entries, shape=(len(sources), columns)).tocsr()
