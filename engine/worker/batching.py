"""Batches for a teacher, such that an error costs one sample.

A batch always has the labeler's full size, has samples of one bucket, and is filled up with blank rows. If a batch
fails it is halved until the sample that fails alone is found. Running out of memory lowers the batch size for good.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from schemas.errors import OutOfMemoryError, RuntimeEnvironmentError, SampleRejectedError, stored_name
from schemas.labeler import Labeler, PreparedSample
from schemas.records import Region

log = logging.getLogger(__name__)
Position = TypeVar("Position")
"""Whatever identifies a sample to the caller."""


@dataclass(frozen=True)
class BatchAnswer(Generic[Position]):
    """The answer for one prepared sample: its regions, or why it was rejected."""

    position: Position
    regions: tuple[Region, ...] = ()
    rejected: SampleRejectedError | None = None


def label_in_batches(
    labeler: Labeler, prepared: Iterable[tuple[Position, PreparedSample]]
) -> Iterator[BatchAnswer[Position]]:
    """Yield an answer for each (position, prepared) pair. Batches are filled in the order of arrival."""
    waiting: dict[tuple[bool, tuple[int, ...]], list[tuple[Position, PreparedSample]]] = {}
    for item in prepared:
        kind = (item[1].second_pass, item[1].bucket)
        group = waiting.setdefault(kind, [])
        group.append(item)
        if len(group) >= labeler.batch_size:
            yield from _ask_group(labeler, waiting.pop(kind))
    for group in waiting.values():
        yield from _ask_group(labeler, group)


def _ask_group(
    labeler: Labeler, group: Sequence[tuple[Position, PreparedSample]]
) -> Iterator[BatchAnswer[Position]]:
    if len(group) > labeler.batch_size:  # the batch size was lowered meanwhile
        yield from _ask_halves(labeler, group)
        return
    rows: list[PreparedSample | None] = [item for _, item in group]
    rows += [None] * (labeler.batch_size - len(rows))
    recover: Callable[[], Iterator[BatchAnswer[Position]]] | None = None
    try:
        answers = labeler.label(rows)
    except RuntimeEnvironmentError:
        raise
    except (OutOfMemoryError, MemoryError) as error:
        recover = _recover_from_memory_error(labeler, group, str(error) or stored_name(error))
    except Exception as error:  # counts as the sample's error until every sample fails
        recover = _recover_from_error(labeler, group, error)
    # outside the except block, because a live traceback would keep the failed batch in memory
    if recover is not None:
        yield from recover()
        return
    if len(answers) != len(rows):
        raise RuntimeEnvironmentError(
            f"the teacher returned {len(answers)} answers for {len(rows)} rows; label() must return one list per row; "
            "fix the teacher"
        )
    for (position, _), regions in zip(group, answers, strict=False):
        yield BatchAnswer(position, tuple(regions))


def _recover_from_error(
    labeler: Labeler, group: Sequence[tuple[Position, PreparedSample]], error: Exception
) -> Callable[[], Iterator[BatchAnswer[Position]]]:
    if len(group) > 1:
        return lambda: _ask_halves(labeler, group)
    position = group[0][0]
    if isinstance(error, SampleRejectedError):
        rejected = SampleRejectedError(error.code, error.detail)
    else:
        rejected = SampleRejectedError("TEACHER_ERROR", f"{stored_name(error)}: {error}")
    return lambda: iter([BatchAnswer(position, rejected=rejected)])


def _recover_from_memory_error(
    labeler: Labeler, group: Sequence[tuple[Position, PreparedSample]], message: str
) -> Callable[[], Iterator[BatchAnswer[Position]]]:
    if labeler.batch_size > 1:
        labeler.batch_size //= 2
        log.warning("out of memory; batches have %d rows from now on", labeler.batch_size)
        return lambda: _ask_group(labeler, group)
    rejected = SampleRejectedError("OOM", message)
    return lambda: (BatchAnswer(position, rejected=rejected) for position, _ in group)


def _ask_halves(
    labeler: Labeler, group: Sequence[tuple[Position, PreparedSample]]
) -> Iterator[BatchAnswer[Position]]:
    middle = (len(group) + 1) // 2
    yield from _ask_group(labeler, group[:middle])
    yield from _ask_group(labeler, group[middle:])
