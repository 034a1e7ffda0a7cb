"""Retries with exponential backoff for transient errors of a store.

An error that is an answer (a missing file, for example) is never retried. A transient error that stays is raised
unchanged after the last try.
"""

from __future__ import annotations

import errno
import functools
import logging
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

TRIES = 5
FIRST_WAIT_S = 0.2
wait: Callable[[float], None] = time.sleep  # a simulation replaces it by its own clock
ANSWERS = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
_ANSWER_ERRNOS = (errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS)  # errors without a class of their own


def run_with_retries(action: Callable[[], T]) -> T:
    """Return the action's result. Retry an OSError that is not an answer, 4 times within 3 s."""
    for attempt in range(TRIES - 1):
        try:
            return action()
        except ANSWERS:
            raise
        except OSError as error:
            if error.errno in _ANSWER_ERRNOS:
                raise
            wait_s = FIRST_WAIT_S * 2**attempt
            log.warning("%s: %s; retry in %.1f s", type(error).__name__, error, wait_s)
            wait(wait_s)
    return action()


def with_retries(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function without side effects with `run_with_retries`."""

    @functools.wraps(function)
    def call(*arguments: P.args, **named: P.kwargs) -> T:
        return run_with_retries(lambda: function(*arguments, **named))

    return call
