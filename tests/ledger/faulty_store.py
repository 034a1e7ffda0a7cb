"""A real store on which one call goes wrong: which verb, its how-maniest call, and how.

Faults are installed under the whole program: every Store made meanwhile has them, as every process would find the same
bad disk.
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
from tests.ledger.s3_proxy import Proxy

SYSTEM = ("fsync", "link", "replace", "unlink")
VERBS = ("read", "put_if_absent", "put", "list", "exists", "size", "delete")
LOOKS = ("read", "list", "exists", "size")
Verb = Callable[..., Any]
Fault = Callable[[Verb, Store, tuple[Any, ...]], Any]


def error_before(verb: Verb, store: Store, arguments: tuple[Any, ...]) -> Any:
    """The call fails and does nothing."""
    raise ConnectionError("the connection was reset before the request")


def lost_answer(verb: Verb, store: Store, arguments: tuple[Any, ...]) -> Any:
    """The call happens, its answer does not arrive."""
    verb(store, *arguments)
    raise TimeoutError("the answer did not arrive")


def repeated(verb: Verb, store: Store, arguments: tuple[Any, ...]) -> Any:
    """The call is sent twice, as s3fs does when it misses the first answer."""
    verb(store, *arguments)
    return verb(store, *arguments)


def no_space(verb: Verb, store: Store, arguments: tuple[Any, ...]) -> Any:
    """The disk is full."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def broken_disk(verb: Verb, store: Store, arguments: tuple[Any, ...]) -> Any:
    """The disk does not answer as it should."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def short(verb: Verb, store: Store, arguments: tuple[Any, ...]) -> Any:
    """Half of what is read, listed, measured or put under a digest. (A record is created whole or not at all.)"""
    if verb.__name__ == "put":
        path, data = arguments
        return verb(store, path, data[: len(data) // 2])
    whole = verb(store, *arguments)
    if isinstance(whole, (bytes, list)):
        return whole[: len(whole) // 2]
    return whole // 2 if type(whole) is int else whole


def slow(verb: Verb, store: Store, arguments: tuple[Any, ...]) -> Any:
    """The answer takes its time."""
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
    """The n-th call of one verb goes wrong, or that and all later ones. Counts the calls of every verb."""

    verb: str = ""
    number: int = 0
    fault: Fault = error_before
    for_good: bool = False
    calls: Counter[str] = field(default_factory=Counter)
    fired: int = 0

    @property
    def is_passing_look(self) -> bool:
        """One look at the store that fails, and would not fail again."""
        fails = self.fault in (error_before, lost_answer, no_space, broken_disk)
        return fails and self.verb in LOOKS and not self.for_good

    @contextmanager
    def installed(self) -> Iterator[Faults]:
        """Within, every store has them."""
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
                    patch.object(Store, verb, _beneath(getattr(Store, verb), partial(faulty, verb)))
                )
            yield self


def _beneath(verb: Verb, faulty: Callable[[Verb], Verb]) -> Verb:
    """The verb with the fault where a try of it goes: under the other tries, where the store makes some."""
    once = getattr(verb, "__wrapped__", None)
    return faulty(verb) if once is None else with_retries(faulty(once))


@dataclass
class SystemFaults(Faults):
    """The n-th call of one of the system's functions fails, beneath the local store. `verb` is its name in `os`."""

    @contextmanager
    def installed(self) -> Iterator[Faults]:
        """Within, the function fails for the whole program."""

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
    """The n-th HTTP request (of some) goes wrong, beneath the library of the store. `verb` is what befalls it."""

    proxy: Proxy | None = None
    among: str = ""

    @contextmanager
    def installed(self) -> Iterator[Faults]:
        """Within, the proxy does it."""
        assert self.proxy is not None
        self.proxy.begin(self.number, self.verb, self.among)
        try:
            yield self
        finally:
            self.fired = self.proxy.fired
            self.proxy.number = 0
