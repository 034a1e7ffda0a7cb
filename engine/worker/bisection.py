"""Which sample of a unit kills its process: bisection over disposable processes.

Promise: a sample is convicted only after a fresh process that held it alone died, hung or outgrew its memory; for one
such sample among n at most `1 + 2*ceil(log2 n)` processes are spent, and each further one adds `2*ceil(log2 n)`.
Rows of the others are what an undisturbed run gives, for every part is asked in full batches with blank rows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from engine.ledger.unit_result import UnitResult
from engine.worker.evidence_rows import rejection_row
from engine.worker.label_unit import Labelled
from schemas.errors import SampleRejectedError
from schemas.ledger import Unit

log = logging.getLogger(__name__)
SUSPICIOUS = 4
"""So many convictions without one sample that lived, and another sample is tried before anybody believes them."""


@dataclass(frozen=True)
class Died:
    """How a disposable process ended that gave no answer; `code` is the fate of the one sample it may have held.

    key, score_kind: what it had noted of that sample and of its teacher before
    """

    code: str
    detail: str
    key: str | None = None
    score_kind: str | None = None


class NotTheSamples(Exception):
    """Fresh processes die whatever they hold: the fault lies with the machine, the teacher or the whole unit."""


Attempt = Callable[[range], Labelled | Died]


def isolate(unit: Unit, attempt: Attempt) -> Labelled:
    """Label a unit in disposable processes. Raises NotTheSamples, and what an attempt raises."""
    search = _Search(unit, attempt)
    search.look(range(unit.first, unit.first + unit.count))
    return search.labelled()


class _Search:
    def __init__(self, unit: Unit, attempt: Attempt) -> None:
        self._unit, self._attempt = unit, attempt
        self._parts: list[Labelled] = []
        self._convicted: dict[int, Died] = {}

    def look(self, span: range) -> None:
        """Label the samples of the span, or find those that cannot be."""
        ended = self._attempt(span)
        if isinstance(ended, Labelled):
            self._parts.append(ended)
        elif len(span) == 1:
            self._convict(span.start, ended)
        else:
            log.warning("%s: a process that held samples %s died: %s", self._unit.name, span, ended.detail)
            middle = span.start + (len(span) + 1) // 2
            self.look(range(span.start, middle))
            self.look(range(middle, span.stop))

    def labelled(self) -> Labelled:
        """The parts together, and a rejection for each convicted sample."""
        if len(self._convicted) > 1 and not self._parts:
            raise NotTheSamples(self._reason())
        result = UnitResult(
            _in_order(row for part in self._parts for row in part.result.rows),
            _in_order(
                [row for part in self._parts for row in part.result.rejections]
                + [self._rejection(index, died) for index, died in self._convicted.items()]
            ),
        )
        return Labelled(result, sum(part.answered for part in self._parts))

    def _convict(self, index: int, died: Died) -> None:
        log.warning("%s: sample %d is rejected as %s: %s", self._unit.name, index, died.code, died.detail)
        self._convicted[index] = died
        last = self._unit.first + self._unit.count - 1
        if len(self._convicted) != SUSPICIOUS or self._parts or last in self._convicted:
            return
        if isinstance(self._attempt(range(last, last + 1)), Died):
            raise NotTheSamples(self._reason())

    def _rejection(self, index: int, died: Died) -> dict[str, object]:
        key = died.key or ""  # a process that died early named none, and a position is not a key
        return rejection_row(self._unit, index, key, SampleRejectedError(died.code, died.detail))

    def _reason(self) -> str:
        index, died = next(iter(self._convicted.items()))
        return f"fresh processes die or hang whichever sample they hold, e.g. sample {index}: {died.code} {died.detail}"


def _in_order(rows: Iterable[dict[str, object]]) -> list[dict[str, object]]:
    return sorted(rows, key=lambda row: int(str(row["index"])))
