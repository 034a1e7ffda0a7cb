"""Faults of a store or a disk in a labeling job. The long suite tries every call, the short one a share of them.

`pytest tests/suites/ledger/test_store_faults.py -rA` prints how many cases ended how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.storage.store import Store
from tests.suites.ledger.children import find_fast_folder
from tests.suites.ledger.fault_cases import Command, forget_memory, store_cases, system_cases, try_cases
from tests.suites.ledger.faulty_store import FAULTS, Faults

pytestmark = pytest.mark.timeout(900)  # of the long suites
SHARE = 23  # coprime to the ten cases of a call, so that all of them come


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with find_fast_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def command(folder: Path) -> Command:
    return Command(folder)


@pytest.fixture
def memory() -> Iterator[str]:
    forget_memory()
    yield "memory://faults"
    forget_memory()


@pytest.fixture(params=["local", "memory"])
def base(request: pytest.FixtureRequest, folder: Path) -> str:
    return str(folder / "store") if request.param == "local" else str(request.getfixturevalue("memory"))


def report(title: str, counts: dict[tuple[str, str], int]) -> None:
    print(f"{title}: {sum(counts.values())} cases")
    for (fault, end), count in sorted(counts.items()):
        print(f"  {fault:13} {end:12} {count}")


@pytest.mark.parametrize(
    "every", [pytest.param(1, marks=pytest.mark.slow, id="all"), pytest.param(SHARE, id="share")]
)
def test_a_store_fault_ends_in_the_undisturbed_rows_or_in_a_named_failure(
    command: Command, base: str, every: int
) -> None:
    counts = try_cases(command, f"{base}-{every}", store_cases(command, f"{base}-{every}/counted"), every)

    report(f"store faults, {base.partition(':')[0]}", counts)
    assert {fault for fault, _ in counts} == FAULTS.keys()
    assert {end for _, end in counts} <= {"undisturbed", "exit 3", "exit 5", "exit 6"}
    assert {end for fault, end in counts if fault in ("slow", "repeated")} == {"undisturbed"}


@pytest.mark.parametrize(
    "every", [pytest.param(1, marks=pytest.mark.slow, id="all"), pytest.param(SHARE, id="share")]
)
def test_a_disk_that_fails_beneath_the_store_does_the_same(
    command: Command, folder: Path, every: int
) -> None:
    base = str(folder / f"system-{every}")
    counts = try_cases(command, base, system_cases(command, f"{base}/counted"), every)

    report("system calls", counts)
    assert sum(counts.values()) > 3
    assert {end for _, end in counts} <= {"undisturbed", "exit 3", "exit 6"}


def test_a_put_that_is_believed_without_a_look_is_found(
    command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check that without the guard against short writes, the cases find a commit that names a missing file."""
    believe: Callable[[Store, str], int] = lambda store, path: len(command.data.get(path, b""))  # noqa: E731
    monkeypatch.setattr(Store, "size", believe)

    with pytest.raises(AssertionError, match="put 1: short"):
        try_cases(command, str(folder / "believed"), [("put 1: short", Faults("put", 1, FAULTS["short"]))])
