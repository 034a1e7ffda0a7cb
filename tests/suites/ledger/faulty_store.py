"""A real store on which one call fails: the n-th call of a verb, with a kind of fault.

Faults are installed for the whole process: every Store has them, as every process would find the same bad disk.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest.mock import patch

from engine.storage.retry import with_retries
from engine.storage.store import Store
from tests.suites.ledger.s3_proxy import Proxy

SYSTEM = ("fsync", "link", "replace", "unlink")
VERBS = ("read", "put_if_absent", "put", "list", "exists", "size", "delete")
LOOKS = ("read", "list", "exists", "size")
Verb = Callable[..., Any]
Fault = Callable[[Verb, Store, tuple[Any, ...]], Any]


def error_before(verb: Verb, store: Store, arguments: tuple[Any, ...]) -> Any:
    """Fail the call before it does anything."""
    raise ConnectionError("the connection was reset before the request")


def lost_answer(verb: Verb, store: Store, arguments: tuple[Any, ...]) -> Any:
    """Do the call, but lose its answer."""
    verb(store, *arguments)
    raise TimeoutError("the answer did not arrive")


def repeated(verb: Verb, store: Store, arguments: tuple[Any, ...]) -> Any:
    """Send the call twice, as s3fs does if it misses the first answer."""
    verb(store, *arguments)
    return verb(store, *arguments)


def no_space(verb: Verb, store: Store, arguments: tuple[Any, ...]) -> Any:
    """Fail as a full disk does."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def broken_disk(verb: Verb, store: Store, arguments: tuple[Any, ...]) -> Any:
    """Fail as a broken disk does."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def short(verb: Verb, store: Store, arguments: tuple[Any, ...]) -> Any:
    """Read, list, measure or put only half. (A record is created whole or not at all.)"""
    if verb.__name__ == "put":
        path, data = arguments
        return verb(store, path, data[: len(data) // 2])
    whole = verb(store, *arguments)
    if isinstance(whole, (bytes, list)):
        return whole[: len(whole) // 2]
    return whole // 2 if type(whole) is int else whole


def slow(verb: Verb, store: Store, arguments: tuple[Any, ...]) -> Any:
    """Delay the answer."""
    threading.Event().wait(0.01)
    return verb(store, *arguments)


FAULTS: dict[str, Fault] = {
    "error before": error_before,
    "lost answer": lost_answer,
    "repeated": repeated,
    "no space": no_space,
    "broken disk": broken_disk,
    "short": short,
    "slow": slow,
}


@dataclass
class Faults:
    """Fails the n-th call of one verb, or that and all later ones. Counts the calls of every verb."""

    verb: str = ""
    number: int = 0
    fault: Fault = error_before
    for_good: bool = False
    calls: Counter[str] = field(default_factory=Counter)
    fired: int = 0

    @property
    def is_passing_look(self) -> bool:
        """Whether the fault is one failed read of the store that would succeed in a retry."""
        fails = self.fault in (error_before, lost_answer, no_space, broken_disk)
        return fails and self.verb in LOOKS and not self.for_good

    @contextmanager
    def install(self) -> Iterator[Faults]:
        """Install the faults in every store inside the block."""
        lock = threading.Lock()

        def faulty(verb: str, original: Any) -> Any:
            def call(store: Store, *arguments: Any) -> Any:
                with lock:
                    self.calls[verb] += 1
                    number = self.calls[verb]
                    due = verb == self.verb and (
                        number == self.number or (self.for_good and number > self.number)
                    )
                    self.fired += due
                return self.fault(original, store, arguments) if due else original(store, *arguments)

            return call

        with ExitStack() as patches:
            for verb in VERBS:
                patches.enter_context(
                    patch.object(Store, verb, _insert_fault(getattr(Store, verb), partial(faulty, verb)))
                )
            yield self


def _insert_fault(verb: Verb, faulty: Callable[[Verb], Verb]) -> Verb:
    """Put the fault into one try of the verb: below the retries, if the store retries it."""
    once = getattr(verb, "__wrapped__", None)
    return faulty(verb) if once is None else with_retries(faulty(once))


@dataclass
class SystemFaults(Faults):
    """Fails the n-th call of a system function beneath the local store. `verb` is its name in `os`."""

    @contextmanager
    def install(self) -> Iterator[Faults]:
        """Fail the function for the whole process inside the block."""

        def faulty(name: str, original: Any) -> Any:
            def call(*arguments: Any, **options: Any) -> Any:
                self.calls[name] += 1
                if name == self.verb and self.calls[name] == self.number:
                    self.fired += 1
                    self.fault(original, None, arguments)  # type: ignore[arg-type]
                return original(*arguments, **options)

            return call

        with ExitStack() as patches:
            for name in SYSTEM:
                patches.enter_context(patch.object(os, name, faulty(name, getattr(os, name))))
            yield self


@dataclass
class RequestFaults(Faults):
    """Fails the n-th HTTP request (of some) beneath the store's library. `verb` is the kind of fault."""

    proxy: Proxy | None = None
    among: str = ""

    @contextmanager
    def install(self) -> Iterator[Faults]:
        """Let the proxy fail the request inside the block."""
        assert self.proxy is not None
        self.proxy.begin(self.number, self.verb, self.among)
        try:
            yield self
        finally:
            self.fired = self.proxy.fired
            self.proxy.number = 0
