from __future__ import annotations

import fcntl
from pathlib import Path

from engine.executors.cluster_token import remove_abandoned


def token(folder: Path, name: str) -> Path:
    (folder / f"groundswell-ray-{name}").mkdir()
    path = folder / f"groundswell-ray-{name}" / "token"
    path.write_text("secret")
    return path


def test_a_killed_runs_token_goes_and_a_living_ones_stays(tmp_path: Path) -> None:
    abandoned, locked = token(tmp_path, "abandoned"), token(tmp_path, "locked")
    (tmp_path / "groundswell-ray-other").mkdir()

    with open(locked) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        remove_abandoned(tmp_path, min_age_s=0.0)

    assert (abandoned.parent.exists(), locked.exists()) == (False, True)
    assert (tmp_path / "groundswell-ray-other").is_dir()


def test_a_token_that_was_made_just_now_is_left_alone(tmp_path: Path) -> None:
    made = token(tmp_path, "made")

    remove_abandoned(tmp_path)

    assert made.exists()
