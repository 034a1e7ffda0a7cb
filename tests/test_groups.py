"""Which tests share a process: one cluster a run, and a file's fixtures are made once."""

from __future__ import annotations

import os

import pytest

needs_processes = pytest.mark.skipif(
    "PYTEST_XDIST_WORKER" not in os.environ, reason="needs several test processes (make test)"
)


@needs_processes
def test_the_tests_of_a_file_share_a_process(request: pytest.FixtureRequest) -> None:
    assert request.node.nodeid.endswith("@tests/test_groups.py")


@needs_processes
@pytest.mark.ray
def test_the_tests_that_need_ray_share_a_process(request: pytest.FixtureRequest) -> None:
    assert request.node.nodeid.endswith("@ray")
