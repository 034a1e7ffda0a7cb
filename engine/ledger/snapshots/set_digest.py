"""An incremental digest of a set: it does not depend on the order, and is updated without reading the other members.

Each member is expanded to 1,024 numbers of 16 bits, and the numbers are added lane by lane. The digest is the sha256 of
the sums. Equal sets give equal digests, however members were added, removed or merged.

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
    """The digest of a set of (unit, digest of its rows). The caller must add each member only once."""

    def __init__(self, lanes: Lanes | None = None) -> None:
        self._lanes: Lanes = np.zeros(LANES, np.uint16) if lanes is None else lanes.copy()

    @classmethod
    def decode(cls, text: str) -> SetDigest:
        """Restore a digest from the text that `encode` returned. Raises ValueError for any other text."""
        data = base64.b64decode(text, validate=True)
        if len(data) != 2 * LANES:
            raise ValueError(f"the state of a digest has {len(data)} bytes, expected {2 * LANES}")
        return cls(np.frombuffer(data, "<u2").astype(np.uint16))

    def encode(self) -> str:
        """Return the sums as text, to continue later."""
        return base64.b64encode(self._lanes.astype("<u2").tobytes()).decode("ascii")

    def value(self) -> str:
        """Return `sha256:<hex>` of the sums."""
        return "sha256:" + sha256_hex(self._lanes.astype("<u2").tobytes())

    def add(self, members: Iterable[tuple[str, str]]) -> SetDigest:
        """Add members; return the digest itself."""
        for sums in _sum_members(members):
            self._lanes += sums
        return self

    def remove(self, members: Iterable[tuple[str, str]]) -> SetDigest:
        """Remove members that were added; return the digest itself."""
        for sums in _sum_members(members):
            self._lanes -= sums
        return self


def _sum_members(members: Iterable[tuple[str, str]]) -> Iterable[Lanes]:
    """Yield sums of the members' lanes, for 512 members at a time. Sums wrap modulo 2**16, as intended."""
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
