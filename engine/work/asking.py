"""Asking a teacher about batches, so that an error costs one sample.

Promise: a batch is always the labeler's full size, of one bucket, filled up with blanks; when it fails it is halved
until the sample that fails alone is found. Running out of memory lowers the labeler's batch size for good.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.errors import EnvironmentProblem, OutOfMemory, SampleRejected
from schemas.labeler import Labeler, Prepared
from schemas.records import Region

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """One sample's answer: regions, or why there are none."""

    position: int
    regions: tuple[Region, ...] = ()
    rejected: SampleRejected | None = None


def ask(labeler: Labeler, prepared: Iterable[tuple[int, Prepared]]) -> Iterator[Asked]:
    """Answers for (position, prepared) pairs, batched by bucket in the order of arrival."""
    waiting: dict[tuple[int, ...], list[tuple[int, Prepared]]] = {}
    for item in prepared:
        group = waiting.setdefault(item[1].bucket, [])
        group.append(item)
        if len(group) >= labeler.batch_size:
            yield from _answers(labeler, waiting.pop(item[1].bucket))
    for group in waiting.values():
        yield from _answers(labeler, group)


def _answers(labeler: Labeler, group: Sequence[tuple[int, Prepared]]) -> Iterator[Asked]:
    if len(group) > labeler.batch_size:  # the batch size was lowered meanwhile
        yield from _halves(labeler, group)
        return
    rows: list[Prepared | None] = [item for _, item in group]
    rows += [None] * (labeler.batch_size - len(rows))
    failure: Callable[[], Iterator[Asked]] | None = None
    try:
        answers = labeler.label(rows)
    except EnvironmentProblem:
        raise
    except (OutOfMemory, MemoryError) as error:
        failure = _after_memory_error(labeler, group, str(error) or type(error).__name__)
    except (
        Exception
    ) as error:  # whatever a teacher raises is the sample's, until it is shown to be everyone's
        failure = _after_error(labeler, group, error)
    # outside the except block: a live traceback would hold the failed batch in memory
    if failure is not None:
        yield from failure()
        return
    if len(answers) != len(rows):
        raise EnvironmentProblem(
            f"the teacher answered {len(answers)} rows of {len(rows)}; its labeler is broken"
        )
    for (position, _), regions in zip(group, answers, strict=False):
        yield Asked(position, tuple(regions))


def _after_error(labeler: Labeler, group: Sequence[Any], error: Exception) -> Callable[[], Iterator[Asked]]:
    if len(group) > 1:
        return lambda: _halves(labeler, group)
    position = group[0][0]
    if isinstance(error, SampleRejected):
        verdict = SampleRejected(error.code, error.detail)
    else:
        verdict = SampleRejected("TEACHER_ERROR", f"{type(error).__name__}: {error}")
    return lambda: iter([Asked(position, rejected=verdict)])


def _after_memory_error(
    labeler: Labeler, group: Sequence[Any], message: str
) -> Callable[[], Iterator[Asked]]:
    if labeler.batch_size > 1:
        labeler.batch_size //= 2
        log.warning("out of memory; batches have %d rows from now on", labeler.batch_size)
        return lambda: _answers(labeler, group)
    verdict = SampleRejected("OOM", message)
    return lambda: (Asked(position, rejected=verdict) for position, _ in group)


def _halves(labeler: Labeler, group: Sequence[tuple[int, Prepared]]) -> Iterator[Asked]:
    middle = (len(group) + 1) // 2
    yield from _answers(labeler, group[:middle])
    yield from _answers(labeler, group[middle:])
