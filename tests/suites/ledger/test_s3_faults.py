"""Faults of the network and of an S3 in a labeling job: every fault on some requests (long), two of them (short)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.settings import StorageSettings
from tests.engine.s3_server import s3_bucket
from tests.suites.ledger.children import find_fast_folder
from tests.suites.ledger.fault_cases import Command, request_cases, try_cases
from tests.suites.ledger.faulty_store import RequestFaults
from tests.suites.ledger.s3_proxy import FAULTS, Proxy, s3_proxy
from tests.suites.ledger.test_store_faults import report

EVERY = 8  # coprime to the number of faults, so that all of them come


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[str, Proxy, Path]]:
    s3fs = pytest.importorskip("s3fs")
    with (
        s3_bucket() as (bucket, settings),
        pytest.MonkeyPatch.context() as patch,
        find_fast_folder() as folder,
    ):
        patch.setattr(
            s3fs.S3FileSystem, "read_timeout", 0.5
        )  # 15 s, after which a stalled request is given up
        with s3_proxy(str(settings.endpoint_url)) as proxy:
            yield bucket, proxy, folder


@pytest.fixture(scope="module")
def command(place: tuple[str, Proxy, Path]) -> Command:
    return Command(place[2], StorageSettings(endpoint_url=place[1].url))


def test_a_commit_whose_answer_is_lost_or_that_is_reset_is_committed(
    place: tuple[str, Proxy, Path], command: Command
) -> None:
    bucket, proxy, _ = place
    cases = [
        (f"the first commit: {fault}", RequestFaults(fault, 1, proxy=proxy, among="PUT .*/commits/"))
        for fault in ("dropped answer", "reset")
    ]

    counts = try_cases(command, f"{bucket}/short", cases)

    assert counts == {("dropped answer", "undisturbed"): 1, ("reset", "undisturbed"): 1}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_whatever_befalls_a_request_ends_in_the_undisturbed_rows_or_in_a_named_failure(
    place: tuple[str, Proxy, Path], command: Command
) -> None:
    bucket, proxy, _ = place

    counts = try_cases(command, f"{bucket}/long", request_cases(command, f"{bucket}/all", proxy), EVERY)

    report("requests to S3", counts)
    assert {fault for fault, _ in counts} == set(FAULTS)
    assert {end for _, end in counts} <= {"undisturbed", "exit 3", "exit 6"}
