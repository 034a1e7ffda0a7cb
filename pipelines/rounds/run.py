"""Run rounds: each round's student is the teacher of the next one, until all are done or a stop rule ends them.

The same command again continues where the last one ended, whatever ended it. The stop rules are evaluated again from
the stored measurements, so a changed limit needs no work to be repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pipelines.compile.run import inherit_stored_fields
from pipelines.rounds.layout import locate_round
from pipelines.rounds.lineage import build_lineage
from pipelines.rounds.measure import MODELS, get_number
from pipelines.rounds.page import write_page
from pipelines.rounds.preflight import check_inputs
from pipelines.rounds.report import RoundsReport
from pipelines.rounds.round import STEPS, Round
from pipelines.rounds.settings import RoundsConfig
from pipelines.steps.cache import StepCache, refuse_foreign
from schemas.errors import ConflictError, NotFoundError
from schemas.progress import ProgressCallback
from teacher.labelers.glip_settings import model_files


def run_rounds(
    config: RoundsConfig, *, progress: ProgressCallback, say: Callable[[str], None]
) -> RoundsReport:
    """Run or continue the rounds. A stop rule does not raise: its reason is in the report's `stops`.

    raises: ConflictError for a folder with other content; errors of the steps
    """
    out = config.home()
    if config.begin == "teacher_start" and not model_files(Path(str(config.teacher.start))):
        raise NotFoundError(
            f"teacher.start {config.teacher.start!r} is not a model directory; give the model from which the teacher "
            "was trained"
        )
    refuse_foreign(out, "run of rounds")
    teacher = Path(config.teacher.model)
    if not (files := model_files(teacher)):
        raise NotFoundError(
            f"teacher.model {config.teacher.model!r} is not a model directory; give the directory of a GLIP model"
        )
    check_inputs(config)
    with suppress(ConflictError):  # a damaged view is made again, under the policy of the file
        policy = inherit_stored_fields(config.policy, locate_round(out, 1).view, say)
        config = config.model_copy(update={"policy": policy})
    cards = ("README.md",)  # the student's card is written again by each call
    cache = StepCache(out, {"teacher": files}, config.rounds * len(STEPS), say, rewritten=cards)
    rounds: list[Round] = []
    decoys: list[float | None] = []
    for number in range(1, config.rounds + 1):
        one = Round(config, number, teacher, locate_round(out, number), cache, progress, decoys)
        rounds.append(one)
        if not one.run():
            for stop in one.stops:
                say(f"round {number} stops ({stop.brake}): {stop.why}. {stop.remedy}")
            break
        teacher = one.promoted
    return _write_report(config, files, rounds)


def _write_report(config: RoundsConfig, teacher_files: dict[str, str], rounds: list[Round]) -> RoundsReport:
    promoted = [one for one in rounds if "promote" in one.results]
    for one in rounds:
        if evaluated := one.results.get("evaluate"):
            suite = evaluated["suites"][config.target.suite]
            one.results["target"] = {name: get_number(suite[name], config.target) for name in MODELS}
    page = config.home() / "report.html"
    report = RoundsReport(
        finished=len(promoted),
        wanted=config.rounds,
        stops=tuple(rounds[-1].stops),
        promoted=str(promoted[-1].promoted) if promoted else None,
        rounds=tuple(dict(one.results) for one in rounds),
        lineage=build_lineage(config, teacher_files, [one.results for one in rounds]),
        report=str(page),
        target=config.target.label(),
    )
    write_page(report, page)
    return report
