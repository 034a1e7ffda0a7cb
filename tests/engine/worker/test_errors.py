"""Which failure an error leads to, and with which stored text."""

from __future__ import annotations

import errno

import pytest

from engine.ledger.attempts import TooManyAttemptsError
from engine.reading.shard_cache import ShardStat
from engine.task import Abort, Failure, Outcome, Retry, Task
from engine.worker.errors import (
    NoSampleToBlameError,
    RecalledError,
    SandboxDiedError,
    SandboxFailedError,
    SandboxNotReadyError,
    TeacherBrokenError,
    outcome_of,
)
from schemas.errors import ConflictError, ShardDamagedError

TASK = Task(shard=ShardStat("s3://b/0.tar", 1, "v"))
REPORTED = Failure(code="SHARD_TRUNCATED", detail="cut")


@pytest.mark.parametrize(
    ("error", "code", "detail", "retry"),
    [
        (RecalledError(), "RECALLED", "its worker is leaving", Retry.FREE),
        (TeacherBrokenError("all failed"), "TEACHER_ERROR", "all failed", Retry.NEVER),
        (SandboxNotReadyError("no teacher"), "TEACHER_ERROR", "no teacher", Retry.CHARGED),
        (NoSampleToBlameError("all die"), "WORKER_DIED", "NotTheSamples: all die", Retry.NEVER),
        (SandboxDiedError("WORKER_DIED", "exit code 1"), "WORKER_DIED", "exit code 1", Retry.CHARGED),
        (SandboxFailedError(REPORTED), "SHARD_TRUNCATED", "cut", Retry.NEVER),
        (MemoryError("full"), "WORKER_DIED", "MemoryError: full", Retry.CHARGED),
        (ShardDamagedError("SHARD_FORMAT", "no tar"), "SHARD_FORMAT", "no tar", Retry.NEVER),
        (OSError("503"), "STORE_ERROR", "OSError: 503", Retry.CHARGED),
    ],
)
def test_an_error_leads_to_its_failure(error: Exception, code: str, detail: str, retry: Retry) -> None:
    outcome = outcome_of(TASK, error)

    assert outcome == Outcome(task=TASK, failure=Failure(code=code, detail=detail, retry=retry))


def test_a_defect_of_ours_costs_one_unit_and_is_reported_with_its_place() -> None:
    failure = outcome_of(TASK, ZeroDivisionError("in our code")).failure

    assert failure is not None and (failure.code, failure.retry) == ("UNIT_ERROR", Retry.NEVER)
    assert "ZeroDivisionError: in our code" in failure.detail


@pytest.mark.parametrize(
    ("error", "abort"),
    [
        (ConflictError("two truths"), Abort(error="ConflictError", message="two truths")),
        (
            OSError(errno.ENOSPC, "disk full"),
            Abort(
                error="RuntimeEnvironmentError",
                message="no space left: [Errno 28] disk full; free some and run the same command again, it continues",
            ),
        ),
    ],
)
def test_an_error_of_the_machine_or_the_output_ends_the_run(error: Exception, abort: Abort) -> None:
    assert outcome_of(TASK, error) == Outcome(task=TASK, abort=abort)


def test_a_unit_that_was_begun_often_is_deferred() -> None:
    assert outcome_of(TASK, TooManyAttemptsError("u", 3)) == Outcome(task=TASK, is_deferred=True)
