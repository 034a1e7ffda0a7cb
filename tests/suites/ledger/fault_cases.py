"""Run one labeling job per store fault: it ends as if nothing had happened, or with a failure that has a name.

Afterwards nothing is torn, and without the fault the same command produces the rows and bytes of an undisturbed run.
"""

from __future__ import annotations

import io
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any
from unittest.mock import patch

import fsspec
import typer

from engine.ledger.verify import verify
from engine.settings import OutputSettings, StorageSettings
from engine.storage import retry
from engine.storage.store import open_store
from pipelines.cli.verb import handle_errors
from pipelines.label.run import label
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import job_of, plain_captions, write_shard
from tests.suites.ledger.faulty_store import FAULTS, Faults, RequestFaults, SystemFaults
from tests.suites.ledger.s3_proxy import FAULTS as HTTP_FAULTS
from tests.suites.ledger.s3_proxy import Proxy
from tests.suites.ledger.tiny_run import check_whole

FOR_GOOD = ("error before", "no space", "broken disk")
UNDISTURBED, FAILED_UNITS = "undisturbed", "exit 3"


class Command:
    """The same small job into any output."""

    def __init__(self, folder: Path, storage: StorageSettings | None = None) -> None:
        self.storage = storage
        shard = write_shard(folder / "a.tar", [*plain_captions(3), "unpreparable"])
        self._job = job_of(folder, [shard], input={"unit_samples": 2})
        self.summary = label(self._into(str(folder / "undisturbed")), factories=FACTORIES)
        self.data = data(str(folder / "undisturbed"))

    def _into(self, url: str) -> Any:
        output = OutputSettings(url=url, storage=self.storage if "://" in url else None)
        return self._job.model_copy(update={"output": output})

    def end_under(self, url: str, faults: Faults) -> str:
        """Run the command under faults. Return `undisturbed`, or `exit N` if a message or a code gives the reason.

        raises: errors that the command line would not catch, and AssertionError for rows that are not undisturbed
        """
        ended: dict[str, Any] = {}

        def run() -> None:
            ended.update(label(self._into(url), factories=FACTORIES))

        with faults.install(), quiet(), redirect_stderr(io.StringIO()) as errors:
            try:
                handle_errors(run)()
            except typer.Exit as end:
                assert errors.getvalue().startswith("error: "), "a failure without a message"
                return f"exit {end.exit_code}"
        if ended["failures"]:
            assert all(failure["code"] and failure["detail"] for failure in ended["failures"])
            return FAILED_UNITS
        assert ended["digest"] == self.summary["digest"]
        return UNDISTURBED

    def ends_well(self, url: str) -> None:
        """Check that the same command without the fault produces equal rows and equal bytes."""
        with quiet():
            summary = label(self._into(url), factories=FACTORIES)
        assert summary["digest"] == self.summary["digest"]
        assert summary["units"] == self.summary["units"]
        assert verify(url, storage=self.storage)["digest"] == self.summary["digest"]
        assert data(url, self.storage) == self.data


def data(url: str, storage: StorageSettings | None = None) -> dict[str, bytes]:
    """Return the data files of an output."""
    store = open_store(url, storage)
    return {path: store.read(path) for folder in ("data", "rejected") for path in store.list(folder)}


def store_cases(command: Command, url: str) -> Iterator[tuple[str, Faults]]:
    """Return every call of every verb in an undisturbed run with every fault, and the disk that stays broken."""
    for verb_name, number in _calls(command, url, Faults()):
        for name, fault in FAULTS.items():
            yield f"{verb_name} {number}: {name}", Faults(verb_name, number, fault)
        for name in FOR_GOOD:
            yield f"{verb_name} {number} on: {name}", Faults(verb_name, number, FAULTS[name], for_good=True)


def system_cases(command: Command, url: str) -> Iterator[tuple[str, Faults]]:
    """Return every system call beneath the local store, with a full and with a broken disk."""
    for name, number in _calls(command, url, SystemFaults()):
        for fault in ("no space", "broken disk"):
            yield f"os.{name} {number}: {fault}", SystemFaults(name, number, FAULTS[fault])


def request_cases(command: Command, url: str, proxy: Proxy) -> Iterator[tuple[str, Faults]]:
    """Return every request of an undisturbed run to an S3, with every fault of a request."""
    counting = RequestFaults(proxy=proxy)
    assert command.end_under(url, counting) == UNDISTURBED
    for number, request in enumerate(list(proxy.seen), 1):
        for fault in HTTP_FAULTS:
            yield f"{request.split('?')[0]} ({number}): {fault}", RequestFaults(fault, number, proxy=proxy)


def try_cases(
    command: Command, base: str, cases: Iterable[tuple[str, Faults]], every: int = 1
) -> Counter[tuple[str, str]]:
    """Run each case, or every n-th, in an output of its own; count how many of each fault ended how.

    raises: AssertionError that names the case, for anything torn, lost, doubled, or without a name
    """
    counts: Counter[tuple[str, str]] = Counter()
    for number, (name, faults) in enumerate(cases):
        if number % every:
            continue  # of its own output, so that a case is the same whatever the share
        url = f"{base}/{number}"
        try:
            counts[name.split(": ")[1], end := command.end_under(url, faults)] += 1
            assert faults.fired, "the fault did not come"
            assert end == UNDISTURBED or not faults.is_passing_look, f"one look failed once: {end}"
            check_whole(url, command.storage)
            command.ends_well(url)
        except Exception as error:
            raise AssertionError(f"{name}: {type(error).__name__}: {error}") from error
    return counts


def _calls(command: Command, url: str, counting: Faults) -> list[tuple[str, int]]:
    assert command.end_under(url, counting) == UNDISTURBED
    return [(name, number + 1) for name, calls in sorted(counting.calls.items()) for number in range(calls)]


@contextmanager
def quiet() -> Iterator[None]:
    """Skip the waits between retries, and the log lines about them."""
    logger = logging.getLogger("engine")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with patch.object(retry, "wait", lambda seconds: None):
            yield
    finally:
        logger.setLevel(before)


def forget_memory() -> None:
    """Empty `memory://`, which all stores of a process share."""
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
