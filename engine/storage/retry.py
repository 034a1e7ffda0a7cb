"""Another try for what a store refuses in passing trouble: a few, with waits that double.

Promise: an answer is not asked for twice, and trouble that stays is raised as it is after the last try.
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
wait: Callable[[float], None] = time.sleep  # a simulation waits in its own time
ANSWERS = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
_ANSWERING = (errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS)  # without a class of their own


def run_with_retries(action: Callable[[], T]) -> T:
    """The action's result; an OSError that is no answer is tried again a few times, over 3 s."""
    for attempt in range(TRIES - 1):
        try:
            return action()
        except ANSWERS:
            raise
        except OSError as error:
            if error.errno in _ANSWERING:
                raise
            wait_s = FIRST_WAIT_S * 2**attempt
            log.warning("%s: %s; trying again in %.1f s", type(error).__name__, error, wait_s)
            wait(wait_s)
    return action()


def with_retries(verb: Callable[P, T]) -> Callable[P, T]:
    """A verb that changes nothing, `retried`."""

    @functools.wraps(verb)
    def trying(*arguments: P.args, **named: P.kwargs) -> T:
        return run_with_retries(lambda: verb(*arguments, **named))

    return trying
