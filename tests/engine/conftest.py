"""One Ray cluster for all tests of a run that need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """The cluster that `label` would start, kept for the whole run; pools find it and leave it running."""
    from engine.ray_pool import cluster

    with cluster():
        yield
