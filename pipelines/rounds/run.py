"""Rounds: from a first teacher over its students, until the number asked for is reached or a brake holds.

Its promise: the same command again goes on where the last one ended, whatever ended it; brakes are judged anew from
what was measured, so a limit that was changed on purpose needs no work to be done again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import Field

from pipelines.compile.run import continued_policy
from pipelines.labels.tables import Report, Table
from pipelines.rounds.layout import round_places
from pipelines.rounds.lineage import Lineage, lineage_of
from pipelines.rounds.measure import MODELS, number_of
from pipelines.rounds.preflight import check_inputs
from pipelines.rounds.round import STEPS, Progress, Round
from pipelines.rounds.settings import RoundsConfig
from pipelines.rounds.stop_rules import Stop
from pipelines.steps.cache import Journal, refuse_foreign
from schemas.errors import Conflict, NotFound
from teacher.labelers.glip_settings import model_files


class RoundsReport(Report):
    """What the rounds came to."""

    finished: int = Field(description="rounds whose student was promoted")
    wanted: int
    stops: tuple[Stop, ...] = Field(description="why the last round went no further; empty where all did")
    promoted: str | None = Field(description="directory of the last promoted student")
    rounds: tuple[dict[str, Any], ...] = Field(description="results of every round, by step")
    lineage: Lineage
    report: str
    target: str

    def tables(self) -> list[Table]:
        """The target by round and model, then what stopped."""
        rows = [self._row(number, found) for number, found in enumerate(self.rounds, start=1)]
        stops = [(stop.brake, stop.why, stop.remedy) for stop in self.stops]
        return [
            Table(f"{self.target}, in points", ("round", *MODELS, "gain over control"), rows),
            Table("stopped", ("brake", "why", "remedy"), stops),
        ]

    def text(self) -> str:
        """The tables, how many rounds were promoted, and where the page is."""
        done = f"{self.finished} of {self.wanted} rounds promoted a student; {self.report}"
        return "\n\n".join(part for part in (super().text(), done) if part)

    def _row(self, number: int, found: dict[str, Any]) -> tuple[str, ...]:
        numbers = found.get("target", {})
        gain = found.get("evaluate", {}).get("gain")
        cells = [_points(numbers.get(name)) for name in MODELS]
        return (str(number), *cells, "-" if gain is None else _points(gain["value"], "+"))


def _points(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{100 * value:{sign}.1f}"


def run_rounds(config: RoundsConfig, *, progress: Progress, say: Callable[[str], None]) -> RoundsReport:
    """Run or continue. A brake does not raise: it is in the report's `stops`.

    raises: Conflict for a folder that holds something else; errors of the steps
    """
    out = config.home()
    if config.begin == "teacher_start" and not model_files(Path(str(config.teacher.start))):
        raise NotFound(
            f"teacher.start {config.teacher.start!r} is no model directory; give what the teacher was trained from"
        )
    refuse_foreign(out, "run of rounds")
    teacher = Path(config.teacher.model)
    if not (files := model_files(teacher)):
        raise NotFound(
            f"teacher.model {config.teacher.model!r} is no model directory; give that of a GLIP model"
        )
    check_inputs(config)
    with suppress(Conflict):  # a damaged view is made anew, under the policy of the file
        policy = continued_policy(config.policy, round_places(out, 1).view, say)
        config = config.model_copy(update={"policy": policy})
    cards = ("README.md",)  # the student's is written again by each call
    journal = Journal(out, {"teacher": files}, config.rounds * len(STEPS), say, rewritten=cards)
    rounds: list[Round] = []
    decoys: list[float | None] = []
    for number in range(1, config.rounds + 1):
        one = Round(config, number, teacher, round_places(out, number), journal, progress, decoys)
        rounds.append(one)
        if not one.run():
            for stop in one.stops:
                say(f"round {number} stops ({stop.brake}): {stop.why}. {stop.remedy}")
            break
        teacher = one.promoted
    return _report(config, files, rounds)


def _report(config: RoundsConfig, teacher_files: dict[str, str], rounds: list[Round]) -> RoundsReport:
    from pipelines.rounds.page import write_page

    promoted = [one for one in rounds if "promote" in one.results]
    for one in rounds:
        if found := one.results.get("evaluate"):
            suite = found["suites"][config.target.suite]
            one.results["target"] = {name: number_of(suite[name], config.target) for name in MODELS}
    page = config.home() / "report.html"
    report = RoundsReport(
        finished=len(promoted),
        wanted=config.rounds,
        stops=tuple(rounds[-1].stops),
        promoted=str(promoted[-1].promoted) if promoted else None,
        rounds=tuple(one.results for one in rounds),
        lineage=lineage_of(config, teacher_files, [one.results for one in rounds]),
        report=str(page),
        target=config.target.label(),
    )
    write_page(report, page)
    return report
