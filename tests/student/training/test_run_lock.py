"""One process at a time trains into a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from schemas.errors import ConflictError
from student.training.run_lock import lock_run_folder

HOLD = """
import sys
from pathlib import Path
from student.training.run_lock import lock_run_folder

with lock_run_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path, root: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
    )
    assert child.stdout is not None and child.stdout.readline() == "held\n"
    return child


def test_a_second_writer_waits_and_is_refused(tmp_path: Path, project_root: Path) -> None:
    with holder(tmp_path, project_root) as child:
        with (
            pytest.raises(ConflictError, match="being written by another process"),
            lock_run_folder(tmp_path, wait_s=0.2),
        ):
            pass
        child.kill()


def test_a_killed_writer_leaves_the_folder_free_at_once(tmp_path: Path, project_root: Path) -> None:
    with holder(tmp_path, project_root) as child:
        child.kill()
        child.wait()

        with lock_run_folder(tmp_path, wait_s=0.0):
            pass
