"""Run rounds: each round's student is the teacher of the next one, until all are done or a stop rule ends them.

The same command again continues where the last one ended, whatever ended it. The stop rules are evaluated again from
the stored measurements, so a changed limit needs no work to be repeated.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress

from pipelines.compile.run import inherit_stored_fields
from pipelines.rounds.layout import locate_round
from pipelines.rounds.lineage import build_lineage
from pipelines.rounds.measure import MODELS, get_number
from pipelines.rounds.page import write_page
from pipelines.rounds.preflight import (
    check_inputs,
    check_policies,
    check_teacher,
    identify_teacher,
    resolve_teacher,
)
from pipelines.rounds.report import RoundsReport
from pipelines.rounds.round import STEPS, Round
from pipelines.rounds.settings import ARMS, RoundsConfig
from pipelines.steps.cache import StepCache, refuse_foreign
from schemas.errors import ConflictError
from schemas.progress import ProgressCallback
from teacher.labelers.glip_settings import GlipSettings


def run_rounds(
    config: RoundsConfig, *, progress: ProgressCallback, say: Callable[[str], None]
) -> RoundsReport:
    """Run or continue the rounds. A stop rule does not raise: its reason is in the report's `stops`.

    raises: ConflictError for a folder with other content; errors of the steps
    """
    out = config.home()
    teacher = resolve_teacher(config.teacher)
    check_teacher(config, teacher)
    refuse_foreign(out, "run of rounds")
    first = identify_teacher(config, teacher)
    check_inputs(config)
    config = _inherit_fields(config, say)
    name_inherited_settings(config, say)
    check_policies(config, teacher)
    cards = ("README.md",)  # the student's card is written again by each call
    cache = StepCache(out, first.key, config.rounds * len(STEPS), say, rewritten=cards)
    rounds: list[Round] = []
    decoys: list[float | None] = []
    for number in range(1, config.rounds + 1):
        one = Round(config, number, teacher, locate_round(out, number), cache, progress, decoys)
        rounds.append(one)
        if not one.run():
            for stop in one.stops:
                say(f"round {number} stops ({stop.brake}): {stop.why}. {stop.remedy}")
            break
        teacher = GlipSettings(model=str(one.promoted))
    return _write_report(config, first.digest, rounds)


def _inherit_fields(config: RoundsConfig, say: Callable[[str], None]) -> RoundsConfig:
    """Return the configuration with fields that a policy omits taken from the first view that was made under it."""
    number_by_policy = {"policy": 1} if config.first_policy is None else {"first_policy": 1, "policy": 2}
    for name, number in number_by_policy.items():
        with suppress(ConflictError):  # a damaged view is made again, under the policy of the file
            view = locate_round(config.home(), number).view
            policy = inherit_stored_fields(getattr(config, name), view, say)
            config = config.model_copy(update={name: policy})
    return config


def name_inherited_settings(config: RoundsConfig, say: Callable[[str], None]) -> None:
    """Name the settings of trainings that the configuration omits and that later rounds take from the first one."""
    from student.training.report import inherit_stored_settings

    for name in ARMS:
        folder = locate_round(config.home(), 1).training(name)
        settings = config.training(name, "view", {"start": "start", "out": str(folder)})
        for field, value in inherit_stored_settings(settings, folder)[1].items():
            say(
                f"{name}.{field}: {json.dumps(value)}, as round 1 has it, since the configuration omits it (new rounds "
                f"get {json.dumps(getattr(settings, field))}); set it to change it"
            )


def _write_report(config: RoundsConfig, first_teacher: str, rounds: list[Round]) -> RoundsReport:
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
        lineage=build_lineage(config, first_teacher, [one.results for one in rounds]),
        report=str(page),
        target=config.target.label(),
    )
    write_page(report, page)
    return report
