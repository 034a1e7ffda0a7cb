"""The floor of the evidence: a job that gives none takes that of its teacher's kind."""

import pytest

from pipelines.label.job import JobConfig
from teacher.registry import TEACHERS


def job(kind, **evidence):
    sections = {"evidence": evidence} if evidence else {}
    return JobConfig.model_validate(
        {
            "input": {"urls": ["a.tar"]},
            "teacher": {"kind": kind, "model": "some/model"},
            "output": {"url": "out"},
            **sections,
        }
    )


@pytest.mark.parametrize(
    "kind", [name for name in TEACHERS.names() if TEACHERS.load(name).settings_class.model_is_path]
)
def test_a_job_without_a_floor_takes_that_of_its_kind(kind):
    assert job(kind).evidence.min_score == TEACHERS.load(kind).min_score
    assert job(kind, nms_iou=0.9).evidence.min_score == TEACHERS.load(kind).min_score


def test_a_floor_in_the_job_counts():
    assert job("grounding-dino", min_score=0.3).evidence.min_score == 0.3


@pytest.mark.parametrize("kind", ["glip", "detector"])
def test_jobs_from_before_kinds_had_floors_keep_theirs(kind):
    assert job(kind).evidence.min_score == 0.05


@pytest.mark.parametrize("kind", TEACHERS.names())
def test_every_kind_says_where_its_floor_comes_from_and_starts_above_it(kind):
    entry = TEACHERS.load(kind)

    assert entry.scores_from
    assert entry.starting_policy["min_score"] >= entry.min_score
