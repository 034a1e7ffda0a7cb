"""What became of a unit's samples: what `run_unit` gives and `commit_unit` makes lasting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.ledger import SampleCounts

QUARANTINE_CODES = ("CRASH", "TIMEOUT", "OOM")


@dataclass
class UnitResult:
    """Evidence rows and rejections of a unit, each in index order."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    rejections: list[dict[str, Any]] = field(default_factory=list)

    def counts(self) -> SampleCounts:
        """The unit's samples, told apart by fate."""
        codes = [row["code"] for row in self.rejections]
        labelled = sum(map(has_region, self.rows))
        return SampleCounts(
            samples_in=len(self.rows) + len(self.rejections),
            labelled=labelled,
            empty=len(self.rows) - labelled,
            rejected={code: codes.count(code) for code in sorted(set(codes))},
        )

    @property
    def is_quarantined(self) -> bool:
        """Whether a sample crashed, hung or ate the memory."""
        return any(row["code"] in QUARANTINE_CODES for row in self.rejections)


def has_region(row: Mapping[str, Any]) -> bool:
    """Whether an evidence row has a region of one of its own phrases; those of decoys label nothing."""
    if not row["regions"]:
        return False
    decoys = {number for number, phrase in enumerate(row["phrases"]) if phrase["kind"] == "decoy"}
    return any(region["phrase"] not in decoys for region in row["regions"])
