"""How often a teacher boxed a noun that is believed absent: the share of decoys with a box, with its interval.

Only decoys that were asked for count. Decoys of one image are seen in one picture and are not independent. So the
interval is Wilson's at the effective number of decoys, estimated from the images and never above the real number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from pipelines.quality.intervals import estimate_share
from pipelines.report_base import Table
from schemas.decoys import DecoyPool
from schemas.records import Record
from schemas.rows import EvidenceRow, ViewRow


class DecoyShare(Record):
    """Decoys of one kind."""

    asked: int = Field(ge=0)
    with_box: int = Field(ge=0, description="of these, with a box at or above min_score")
    share: float | None = Field(description="with_box / asked; none where none was asked")
    low: float = Field(description="of the 95 % interval")
    high: float


class DecoyNumbers(Record):
    """The decoys of evidence: a teacher's answers for nouns that are believed absent, not known to be."""

    min_score: float
    images: int = Field(ge=0, description="that were asked for decoys")
    not_asked: int = Field(ge=0, description="chosen, but the teacher could not be asked or gave no answer")
    all: DecoyShare
    by_frequency: dict[str, DecoyShare] = Field(
        description="by how often the captions of the pool have the noun, in powers of two"
    )

    def table(self) -> Table:
        """Return the numbers as a table."""
        rows = [_format_row("all", self.all), *(_format_row(*item) for item in self.by_frequency.items())]
        title = f"decoys with a box at or above {self.min_score:g} (believed absent, not known to be)"
        return Table(title, ("captions with the noun", "asked", "with a box", "share", "95 % interval"), rows)


class DecoyCounter:
    """Counts the decoys of evidence rows. pool: gives the frequency of a noun; without it, all are of one kind."""

    def __init__(self, min_score: float, pool: DecoyPool | None) -> None:
        self._min_score, self._pool = min_score, pool
        self._all = _ClusterSums()
        self._buckets: dict[int, _ClusterSums] = {}
        self._not_asked = 0

    def add(self, row: EvidenceRow | ViewRow) -> None:
        """Count one row."""
        decoys = [n for n, phrase in enumerate(row["phrases"]) if phrase["kind"] == "decoy"]
        if not decoys:
            return
        least = float(np.float32(self._min_score))  # evidence has float32
        boxed = {region["phrase"] for region in row["regions"] if region["score"] >= least}
        asked = [n for n in decoys if row["phrases"][n]["groundable"]]
        self._not_asked += len(decoys) - len(asked)
        self._all.add([n in boxed for n in asked])
        by_bucket: dict[int, list[bool]] = {}
        for n in asked:
            by_bucket.setdefault(self._find_bucket(row["phrases"][n]["root"]), []).append(n in boxed)
        for bucket, answers in by_bucket.items():
            self._buckets.setdefault(bucket, _ClusterSums()).add(answers)

    def numbers(self) -> DecoyNumbers | None:
        """Return the counts; None without any decoy."""
        if not self._all.images and not self._not_asked:
            return None
        return DecoyNumbers(
            min_score=self._min_score,
            images=self._all.images,
            not_asked=self._not_asked,
            all=self._all.share(),
            by_frequency={
                _bucket_name(bucket): self._buckets[bucket].share() for bucket in sorted(self._buckets)
            },
        )

    def _find_bucket(self, noun: str) -> int:
        return self._pool.bucket(noun) if self._pool else 0


@dataclass
class _ClusterSums:
    """Sums over images: decoys asked m, with a box h, and their squares and product."""

    images: int = 0
    m: int = 0
    h: int = 0
    mm: int = 0
    mh: int = 0
    hh: int = 0

    def add(self, answers: list[bool]) -> None:
        m, h = len(answers), sum(answers)
        if m:
            self.images += 1
            self.m, self.h = self.m + m, self.h + h
            self.mm, self.mh, self.hh = self.mm + m * m, self.mh + m * h, self.hh + h * h

    def share(self) -> DecoyShare:
        if not self.m:
            return DecoyShare(asked=0, with_box=0, share=None, low=0.0, high=1.0)
        found = estimate_share(self.h / self.m, self._effective_number())
        return DecoyShare(asked=self.m, with_box=self.h, share=found.value, low=found.low, high=found.high)

    def _effective_number(self) -> float:
        """Return the number of independent decoys with equal certainty, from the variance of a ratio over images.

        source: Cochran, Sampling Techniques, 3rd ed. 1977, section 6.5 (ratio estimate); Kish's design effect
        """
        share = self.h / self.m
        spread = self.hh - 2 * share * self.mh + share * share * self.mm
        if self.images < 2 or spread <= 0 or share in (0.0, 1.0):
            return float(self.images if self.images < 2 else self.m)
        variance = spread / self.m**2 * self.images / (self.images - 1)
        return min(float(self.m), share * (1 - share) / variance)


def _bucket_name(bucket: int) -> str:
    return "1" if bucket == 0 else f"{2**bucket}-{2 ** (bucket + 1) - 1}"


def _format_row(name: str, found: DecoyShare) -> tuple[str, ...]:
    share = "-" if found.share is None else f"{found.share:.1%}"
    return name, str(found.asked), str(found.with_box), share, f"{found.low:.1%} to {found.high:.1%}"
