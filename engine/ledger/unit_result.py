"""The result of labeling a unit, which `commit_unit` writes."""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.ledger import SampleCounts
from schemas.rows import EvidenceRow, RejectionRow

QUARANTINE_CODES = ("CRASH", "TIMEOUT", "OOM")


@dataclass
class UnitResult:
    """Evidence rows and rejections of a unit, each in index order."""

    rows: list[EvidenceRow] = field(default_factory=list)
    rejections: list[RejectionRow] = field(default_factory=list)

    def counts(self) -> SampleCounts:
        """Count the unit's samples by outcome."""
        codes = [row["code"] for row in self.rejections]
        labeled = sum(map(has_region, self.rows))
        return SampleCounts(
            samples_in=len(self.rows) + len(self.rejections),
            labelled=labeled,
            empty=len(self.rows) - labeled,
            rejected={code: codes.count(code) for code in sorted(set(codes))},
        )

    @property
    def is_quarantined(self) -> bool:
        """Whether a sample crashed, hung or ran out of memory."""
        return any(row["code"] in QUARANTINE_CODES for row in self.rejections)


def has_region(row: EvidenceRow) -> bool:
    """Return whether an evidence row has a region of one of its own phrases; regions of decoys do not count."""
    if not row["regions"]:
        return False
    decoys = {number for number, phrase in enumerate(row["phrases"]) if phrase["kind"] == "decoy"}
    return any(region["phrase"] not in decoys for region in row["regions"])
