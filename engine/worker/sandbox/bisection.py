"""Bisection over sandbox processes: find the sample of a unit that kills its process.

A sample is convicted only after a fresh process that had it alone died, hung or exceeded its memory. For one such
sample among n, at most `1 + 2*ceil(log2 n)` processes are used, and each further one adds `2*ceil(log2 n)`. The rows
of the other samples equal those of an undisturbed run, because every part is asked in full batches with blanks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

from engine.ledger.unit_result import UnitResult
from engine.worker.errors import NoSampleToBlameError, SandboxDiedError
from engine.worker.evidence_rows import rejection_row
from schemas.errors import SampleRejectedError
from schemas.ledger import Unit
from schemas.rows import EvidenceRow, RejectionRow

log = logging.getLogger(__name__)
SUSPICIOUS = 4
"""After so many convictions without a sample that survived, another sample is tried before they are believed."""
Attempt = Callable[[range], UnitResult]
"""Labels a span of samples in a fresh process. Raises SandboxDiedError if the process dies."""
_Row = TypeVar("_Row", EvidenceRow, RejectionRow)


def isolate(unit: Unit, attempt: Attempt) -> UnitResult:
    """Label a unit in sandbox processes. Raise NoSampleToBlameError, and what an attempt raises."""
    search = _Search(unit, attempt)
    search.label(range(unit.first, unit.first + unit.count))
    return search.result()


class _Search:
    def __init__(self, unit: Unit, attempt: Attempt) -> None:
        self._unit, self._attempt = unit, attempt
        self._parts: list[UnitResult] = []
        self._convicted: dict[int, SandboxDiedError] = {}

    def label(self, span: range) -> None:
        """Label the samples of the span, or find those that cannot be labeled."""
        try:
            self._parts.append(self._attempt(span))
        except SandboxDiedError as death:
            if len(span) == 1:
                self._convict(span.start, death)
                return
            log.warning("%s: a process that held samples %s died: %s", self._unit.name, span, death.detail)
            middle = span.start + (len(span) + 1) // 2
            halves = range(span.start, middle), range(middle, span.stop)
        else:
            return
        for half in halves:
            self.label(half)

    def result(self) -> UnitResult:
        """Return the parts merged, with a rejection for each convicted sample."""
        if len(self._convicted) > 1 and not self._parts:
            raise NoSampleToBlameError(self._describe())
        return UnitResult(
            _in_order(row for part in self._parts for row in part.rows),
            _in_order(
                [row for part in self._parts for row in part.rejections]
                + [self._rejection(index, death) for index, death in self._convicted.items()]
            ),
        )

    def _convict(self, index: int, death: SandboxDiedError) -> None:
        log.warning(
            "%s: sample %d is rejected as %s: %s", self._unit.name, index, death.sample_code, death.detail
        )
        self._convicted[index] = death
        last = self._unit.first + self._unit.count - 1
        if len(self._convicted) != SUSPICIOUS or self._parts or last in self._convicted:
            return
        try:
            self._attempt(range(last, last + 1))
        except SandboxDiedError:
            raise NoSampleToBlameError(self._describe()) from None

    def _rejection(self, index: int, death: SandboxDiedError) -> RejectionRow:
        rejected = SampleRejectedError(death.sample_code, death.detail)
        return rejection_row(self._unit, index, death.key, rejected)

    # stored in the failures of snapshots, so the text must not change
    def _describe(self) -> str:
        index, death = next(iter(self._convicted.items()))
        return (
            f"fresh processes die or hang whichever sample they hold, e.g. sample {index}: {death.sample_code} "
            f"{death.detail}"
        )


def _in_order(rows: Iterable[_Row]) -> list[_Row]:
    return sorted(rows, key=lambda row: row["index"])
