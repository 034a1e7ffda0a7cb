"""Directories with tiny models, made once in a run."""

from __future__ import annotations

import pytest

from tests.teacher.huggingface.grounding_dinos import KINDS, TinyDino
from tests.teacher.huggingface.tiny_models import save_grounding_dino


@pytest.fixture(scope="session", params=KINDS)
def dino(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TinyDino:
    """Save a tiny model of each kind. A test that takes it runs once with each."""
    kind: str = request.param
    folder = save_grounding_dino(tmp_path_factory.mktemp(kind), mm=kind.startswith("mm"))
    return TinyDino(kind, folder)
