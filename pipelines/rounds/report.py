"""The report of the rounds, as JSON and as text tables."""

from __future__ import annotations

from typing import Any, cast

from pydantic import Field

from pipelines.report_base import Report, Table
from pipelines.rounds.lineage import Lineage
from pipelines.rounds.measure import MODELS
from pipelines.rounds.results import RoundResults
from pipelines.rounds.stop_rules import StopReason


class RoundsReport(Report):
    """The results of the rounds."""

    finished: int = Field(description="rounds whose student was promoted")
    wanted: int
    stops: tuple[StopReason, ...] = Field(description="why the last round stopped; empty if none did")
    promoted: str | None = Field(description="directory of the last promoted student")
    rounds: tuple[dict[str, Any], ...] = Field(description="results of every round, by step")
    lineage: Lineage
    report: str
    target: str

    def tables(self) -> list[Table]:
        """Return the target by round and model, and the reasons to stop."""
        rows = [
            self._format_row(number, cast(RoundResults, results))
            for number, results in enumerate(self.rounds, start=1)
        ]
        stops = [(stop.brake, stop.why, stop.remedy) for stop in self.stops]
        return [
            Table(f"{self.target}, in points", ("round", *MODELS, "gain over control"), rows),
            Table("stopped", ("stop rule", "why", "remedy"), stops),
        ]

    def text(self) -> str:
        """Return the tables, the number of promoted rounds, and the path of the page."""
        done = f"{self.finished} of {self.wanted} rounds promoted a student; {self.report}"
        return "\n\n".join(part for part in (super().text(), done) if part)

    def _format_row(self, number: int, results: RoundResults) -> tuple[str, ...]:
        numbers = results.get("target", {})
        gain = results["evaluate"]["gain"] if "evaluate" in results else None
        cells = [_format_points(numbers.get(name)) for name in MODELS]
        return (str(number), *cells, "-" if gain is None else _format_points(gain["value"], "+"))


def _format_points(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{100 * value:{sign}.1f}"
