"""A digest of a set: the same whatever the order, and updated without looking at what is in it already.

Each member is expanded to 1,024 numbers of 16 bits, and the numbers are added lane by lane; the digest is the sha256 of
the sums. Promise: equal sets give equal digests, however they were put together, taken apart or merged.

source: the additive hash of Bellare and Micciancio (A New Paradigm for Collision-free Hashing, EUROCRYPT 1997) with the
lanes of LtHash16 (Lewi and others, Securing Update Propagation with Homomorphic Hashing, 2019); here SHAKE256 expands.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from schemas.digests import sha256_hex

LANES = 1024
_PREFIX = b"groundswell.set-digest.1\n"
_CHUNK = 512
Lanes = npt.NDArray[np.uint16]


class SetDigest:
    """The digest of a set of (unit, digest of its rows). The caller sees to it that a member is added once."""

    def __init__(self, lanes: Lanes | None = None) -> None:
        self._lanes: Lanes = np.zeros(LANES, np.uint16) if lanes is None else lanes.copy()

    @classmethod
    def decode(cls, text: str) -> SetDigest:
        """From what `encoded` gave. Raises ValueError for anything else."""
        data = base64.b64decode(text, validate=True)
        if len(data) != 2 * LANES:
            raise ValueError(f"a digest's state has {len(data)} bytes, expected {2 * LANES}")
        return cls(np.frombuffer(data, "<u2").astype(np.uint16))

    def encode(self) -> str:
        """The sums themselves, as text: what must be kept to go on later."""
        return base64.b64encode(self._lanes.astype("<u2").tobytes()).decode("ascii")

    def value(self) -> str:
        """`sha256:<hex>` of the sums."""
        return "sha256:" + sha256_hex(self._lanes.astype("<u2").tobytes())

    def add(self, members: Iterable[tuple[str, str]]) -> SetDigest:
        """Add members; the digest itself."""
        for sums in _summed(members):
            self._lanes += sums
        return self

    def remove(self, members: Iterable[tuple[str, str]]) -> SetDigest:
        """Take members out that were added; the digest itself."""
        for sums in _summed(members):
            self._lanes -= sums
        return self


def _summed(members: Iterable[tuple[str, str]]) -> Iterable[Lanes]:
    """Sums of the members' lanes, some hundred members at a time: sums modulo 2**16 wrap, as they should."""
    expanded: list[bytes] = []
    for unit, rows_digest in members:
        expanded.append(hashlib.shake_256(_PREFIX + f"{unit}\n{rows_digest}".encode()).digest(2 * LANES))
        if len(expanded) == _CHUNK:
            yield _sum(expanded)
            expanded = []
    if expanded:
        yield _sum(expanded)


def _sum(expanded: list[bytes]) -> Lanes:
    lanes = np.frombuffer(b"".join(expanded), "<u2").reshape(len(expanded), LANES)
    total: Lanes = lanes.sum(axis=0, dtype=np.uint16)
    return total
