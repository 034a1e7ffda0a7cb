"""A stop rule stops on its number, on a missing number, and on nothing else."""

from __future__ import annotations

import pytest

from pipelines.rounds.report import RoundsReport
from pipelines.rounds.settings import AuditGate, Brakes, GuardMeasure, Measure
from pipelines.rounds.stop_rules import judge_audit, judge_evaluation, judge_view

TAIL = Measure(suite="held_out", group="tail")
HEAD = GuardMeasure(suite="held_out", group="head", budget=0.01)
GAIN = {"value": 0.10, "low": 0.02, "high": 0.18}
KEPT = {HEAD.label(): {"teacher": 0.60, "control": 0.6, "student": 0.595}}


def brakes_of(gain: dict | None, numbers: dict, **changes: object) -> list[str]:
    return [stop.brake for stop in judge_evaluation(Brakes(**changes), TAIL, gain, [HEAD], numbers)]


def test_a_student_that_gains_and_forgets_little_is_promoted() -> None:
    assert brakes_of(GAIN, KEPT) == []


@pytest.mark.parametrize("low", [0.0, -0.01, None])
def test_an_interval_that_reaches_zero_gain_stops_the_round(low: float | None) -> None:
    assert brakes_of({**GAIN, "low": low}, KEPT) == ["min_gain"]


def test_the_value_alone_decides_without_gain_interval() -> None:
    assert brakes_of({**GAIN, "low": -0.01}, KEPT, gain_interval=False) == []


def test_a_gain_that_cannot_be_measured_stops_the_round() -> None:
    assert brakes_of(None, KEPT) == ["min_gain"]


def test_a_gain_that_cannot_be_measured_blames_no_label() -> None:
    (stop,) = judge_evaluation(Brakes(), Measure(suite="held_out", group="tial"), None, (), {})
    assert stop.measured is None and "that the suite held_out has that group" in stop.remedy


@pytest.mark.parametrize("student", [0.589, None])
def test_forgetting_beyond_the_budget_or_unmeasured_stops_the_round(student: float | None) -> None:
    numbers = {HEAD.label(): {"teacher": 0.60, "control": 0.7, "student": student}}
    assert brakes_of(GAIN, numbers) == ["forgetting"]


def test_all_reasons_are_reported_not_only_the_first() -> None:
    numbers = {HEAD.label(): {"teacher": 0.60, "control": 0.6, "student": 0.1}}
    assert brakes_of({**GAIN, "low": -0.2}, numbers) == ["min_gain", "forgetting"]


def test_far_more_pseudo_boxes_than_gold_boxes_stop_the_round() -> None:
    assert not list(judge_view(Brakes(), {"gold": 2.0, "pseudo": 6.0}, [None]))
    (stop,) = judge_view(Brakes(), {"gold": 2.0, "pseudo": 6.1}, [None])
    assert (stop.brake, stop.measured) == ("boxes_per_image", pytest.approx(3.05))


def test_gold_without_a_box_allows_no_pseudo_box() -> None:
    (stop,) = judge_view(Brakes(), {"gold": 0.0, "pseudo": 1.0}, [None])
    assert (stop.brake, stop.measured) == ("boxes_per_image", None), "JSON knows no infinity"


def test_decoy_discoveries_may_rise_by_no_more_than_the_limit_since_the_first_round() -> None:
    boxes = {"gold": 2.0, "pseudo": 2.0}
    assert not list(judge_view(Brakes(), boxes, [0.05, 0.06, 0.069]))
    assert [stop.brake for stop in judge_view(Brakes(), boxes, [0.05, 0.06, 0.071])] == ["decoy_rise"]


def test_decoys_that_got_no_number_in_one_round_alone_stop_it() -> None:
    boxes = {"gold": 2.0, "pseudo": 2.0}
    for decoys in ([0.05, None], [None, 0.05]):
        (stop,) = judge_view(Brakes(), boxes, decoys)
        assert (stop.brake, stop.measured) == ("decoy_rise", None) and "no number" in stop.why
    assert not list(judge_view(Brakes(), boxes, [None, None]))


def audit(low: float | None, pending: int = 0) -> dict:
    return {"precision": {"low": low, "value": low, "high": low}, "pending": pending}


@pytest.mark.parametrize(
    ("findings", "says"),
    [
        (None, "no verdict"),
        (audit(0.9, pending=3), "3 regions"),
        (audit(0.79), "79.0 %"),
        (audit(None), "no number"),
    ],
)
def test_the_gate_waits_for_its_reviewer_and_for_its_precision(findings: dict | None, says: str) -> None:
    (stop,) = judge_audit(AuditGate(), findings, "rounds/round-1/audit")
    assert stop.brake == "audit" and says in stop.why


def test_the_gate_opens_at_its_precision() -> None:
    assert not list(judge_audit(AuditGate(), audit(0.8), "rounds/round-1/audit"))


def test_the_table_of_the_terminal_names_the_stop_rule() -> None:
    (reason,) = judge_evaluation(Brakes(), TAIL, None, [HEAD], KEPT)
    report = RoundsReport.model_construct(target="tail/AP", rounds=(), stops=(reason,))

    (table,) = (table for table in report.tables() if table.rows)

    assert table.header == ("stop rule", "why", "remedy") and table.rows[0][0] == reason.brake
    assert set(reason.model_dump()) == {"brake", "measured", "limit", "why", "remedy"}
