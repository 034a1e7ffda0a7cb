"""A checkpoint is complete, or it is not read. A kill cannot leave half of one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from student.training.checkpoints import RECORD, latest_checkpoint, remove_old_checkpoints


def checkpoint(folder: Path, step: int) -> Path:
    path = folder / f"step-{step:08d}"
    path.mkdir(parents=True)
    (path / RECORD).write_text(json.dumps({"step": step, "run_digest": "d"}))
    (path / "model.safetensors").touch()
    return path


def test_the_newest_are_kept_and_the_remains_of_a_kill_go(tmp_path: Path) -> None:
    paths = [checkpoint(tmp_path, step) for step in (10, 20, 30)]
    (tmp_path / "step-00000040").mkdir()

    remove_old_checkpoints(tmp_path, 2)

    assert sorted(tmp_path.iterdir()) == paths[1:]
    assert latest_checkpoint(tmp_path, "d") == (paths[2], 30)


def test_a_kill_in_the_middle_of_a_removal_leaves_no_checkpoint_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (checkpoint(tmp_path, step) for step in (10, 20))

    def killed_midway(path: Path) -> None:
        (path / "model.safetensors").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "rmtree", killed_midway)
        remove_old_checkpoints(tmp_path, 1)
    shutil.rmtree(new)  # as the error for a record that cannot be read says

    assert old.exists() and latest_checkpoint(tmp_path, "d") is None
