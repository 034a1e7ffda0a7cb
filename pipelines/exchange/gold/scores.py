"""Scores of boxes. People give none, so they are read only from the labels of a tool (`--origin teacher`)."""

from __future__ import annotations

from pydantic import JsonValue

from pipelines.exchange.gold.options import ImportOptions
from student.gold.account import RecordError
from student.gold.boxes import is_number


class BoxScores:
    """Reads the scores of a file in which all boxes have one, or none has.

    has_scores: whether the file has any
    number:     boxes with a score read so far
    """

    def __init__(self, options: ImportOptions, *, has_scores: bool) -> None:
        self.has_scores, self.number = has_scores, 0
        self._are_wanted = options.origin == "teacher"

    def read(self, value: JsonValue) -> float | None:
        """Return the score of a box, from 0 to 1; None if scores are not wanted or the file has none.

        Raises RecordError score_bad.
        """
        if not self.has_scores:
            return None
        is_score = is_number(value) and 0 <= value <= 1
        self.number += is_score
        if not self._are_wanted:
            return None
        if not is_number(value) or not is_score:
            raise RecordError("score_bad", f"{value!r}")
        return float(value)
