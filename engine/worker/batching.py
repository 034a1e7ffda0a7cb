"""Asking a teacher about batches, so that an error costs one sample.

Promise: a batch is always the labeler's full size, of one bucket, filled up with blanks; when it fails it is halved
until the sample that fails alone is found. Running out of memory lowers the labeler's batch size for good.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from schemas.errors import OutOfMemoryError, RuntimeEnvironmentError, SampleRejectedError
from schemas.labeler import Labeler, PreparedSample
from schemas.records import Region

log = logging.getLogger(__name__)
Place = TypeVar("Place")  # whatever tells one question from another


@dataclass(frozen=True)
class Asked(Generic[Place]):
    """One sample's answer: regions, or why there are none."""

    position: Place
    regions: tuple[Region, ...] = ()
    rejected: SampleRejectedError | None = None


def ask(labeler: Labeler, prepared: Iterable[tuple[Place, PreparedSample]]) -> Iterator[Asked[Place]]:
    """Answers for (position, prepared) pairs, batched by bucket and pass in the order of arrival."""
    waiting: dict[tuple[bool, tuple[int, ...]], list[tuple[Place, PreparedSample]]] = {}
    for item in prepared:
        kind = (item[1].second_pass, item[1].bucket)
        group = waiting.setdefault(kind, [])
        group.append(item)
        if len(group) >= labeler.batch_size:
            yield from _answers(labeler, waiting.pop(kind))
    for group in waiting.values():
        yield from _answers(labeler, group)


def _answers(labeler: Labeler, group: Sequence[tuple[Place, PreparedSample]]) -> Iterator[Asked[Place]]:
    if len(group) > labeler.batch_size:  # the batch size was lowered meanwhile
        yield from _halves(labeler, group)
        return
    rows: list[PreparedSample | None] = [item for _, item in group]
    rows += [None] * (labeler.batch_size - len(rows))
    failure: Callable[[], Iterator[Asked[Place]]] | None = None
    try:
        answers = labeler.label(rows)
    except RuntimeEnvironmentError:
        raise
    except (OutOfMemoryError, MemoryError) as error:
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
        raise RuntimeEnvironmentError(
            f"the teacher answered {len(answers)} rows of {len(rows)}; its labeler is broken"
        )
    for (position, _), regions in zip(group, answers, strict=False):
        yield Asked(position, tuple(regions))


def _after_error(
    labeler: Labeler, group: Sequence[tuple[Place, PreparedSample]], error: Exception
) -> Callable[[], Iterator[Asked[Place]]]:
    if len(group) > 1:
        return lambda: _halves(labeler, group)
    position = group[0][0]
    if isinstance(error, SampleRejectedError):
        verdict = SampleRejectedError(error.code, error.detail)
    else:
        verdict = SampleRejectedError("TEACHER_ERROR", f"{type(error).__name__}: {error}")
    return lambda: iter([Asked(position, rejected=verdict)])


def _after_memory_error(
    labeler: Labeler, group: Sequence[tuple[Place, PreparedSample]], message: str
) -> Callable[[], Iterator[Asked[Place]]]:
    if labeler.batch_size > 1:
        labeler.batch_size //= 2
        log.warning("out of memory; batches have %d rows from now on", labeler.batch_size)
        return lambda: _answers(labeler, group)
    verdict = SampleRejectedError("OOM", message)
    return lambda: (Asked(position, rejected=verdict) for position, _ in group)


def _halves(labeler: Labeler, group: Sequence[tuple[Place, PreparedSample]]) -> Iterator[Asked[Place]]:
    middle = (len(group) + 1) // 2
    yield from _answers(labeler, group[:middle])
    yield from _answers(labeler, group[middle:])
