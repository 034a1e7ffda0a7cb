"""The record of the promoted student is written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.rounds.layout import locate_round
from pipelines.rounds.round import Round
from pipelines.rounds.settings import RoundsConfig
from pipelines.steps.cache import StepCache
from teacher.labelers.glip_settings import GlipSettings


def test_a_full_disk_leaves_the_former_record_of_the_promotion(
    rounds_config: Callable[..., RoundsConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, places = rounds_config(), locate_round(tmp_path, 1)
    shutil.copytree(config.teacher.model, places.model("student"))
    cache = StepCache(tmp_path, {}, 1, print)
    one_round = Round(
        config, 1, GlipSettings(model=config.teacher.model), places, cache, lambda *step: None, []
    )
    one_round._promote()
    record = (places.folder / "promoted.json").read_bytes()

    def fail(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", fail)

    with pytest.raises(OSError, match=r"No space left on device.*promoted\.json"):
        one_round._promote()
    assert (places.folder / "promoted.json").read_bytes() == record
    assert json.loads(record)["model"] == str(places.model("student"))
    assert sorted(path.name for path in places.folder.iterdir()) == ["promoted.json", "student"]
