"""The ledger under every interleaving and fault that a seed draws, and the mistakes that this must find.

`python -m tests.suites.ledger.simulation --seed N` plays one history again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from schemas.errors import GroundswellError
from tests.suites.ledger import simulation
from tests.suites.ledger.mutants import MUTANTS
from tests.suites.ledger.simulated_world import Fate, Violation

SHORT, LONG = 500, 20_000
ENOUGH = 400  # histories within which every planted mistake shows


@pytest.fixture(scope="module", autouse=True)
def simulated() -> Iterator[None]:
    with simulation.simulate_waits():
        yield


def run(seeds: range) -> simulation.Tally:
    tally = simulation.Tally()
    for seed in seeds:
        simulation.play(seed, tally)
    print(tally)
    return tally


def test_no_history_of_the_short_share_breaks_a_promise() -> None:
    tally = run(range(SHORT))

    assert tally.histories == SHORT
    assert all(tally.fates[fate.value] > 50 for fate in Fate)  # else nothing was put to the test


@pytest.mark.slow
@pytest.mark.timeout(900)  # two minutes on a core of its own
def test_none_of_20000_histories_breaks_a_promise() -> None:
    assert run(range(SHORT, SHORT + LONG)).histories == LONG


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_mistake_is_found(name: str) -> None:
    with MUTANTS[name](), pytest.raises(Violation, match="tests.suites.ledger.simulation --seed") as found:
        run(range(ENOUGH))

    assert isinstance(found.value.__cause__, Violation | GroundswellError)  # no slip of the mistake itself
    print(f"{name}: {str(found.value).splitlines()[0]}")


def test_one_seed_is_one_history() -> None:
    first, second = (simulation.play(17).world for _ in range(2))

    assert first.trace == second.trace
    assert first.objects.keys() == second.objects.keys()


def test_a_history_can_be_read_step_by_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["simulation", "--seed", "17"])

    simulation.main()

    assert len(capsys.readouterr().out.splitlines()) == simulation.play(17).world.steps
