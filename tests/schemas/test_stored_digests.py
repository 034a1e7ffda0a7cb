"""Old outputs stay valid: the current code computes every digest of commit 47d028d."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fixtures.digest_cases import digests

STORED: dict[str, str] = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "digests.json").read_text(encoding="utf-8")
)


@pytest.fixture(scope="module")
def today() -> dict[str, str]:
    return digests()


def test_every_case_has_a_stored_digest(today: dict[str, str]) -> None:
    assert today.keys() == STORED.keys()


@pytest.mark.parametrize("case", STORED)
def test_a_digest_is_what_it_was(case: str, today: dict[str, str]) -> None:
    assert today[case] == STORED[case], f"the digest of {case!r} changed: outputs made before it are stale"


def test_no_two_cases_share_a_digest() -> None:
    assert len(set(STORED.values())) == len(STORED)
