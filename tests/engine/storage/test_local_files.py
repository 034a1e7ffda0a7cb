from __future__ import annotations

import os
import re
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from engine.storage.local_files import create_file, remove_abandoned_files

DIE_HALF_WAY = """
import os, signal, sys
from engine.storage import local_files
local_files.os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
local_files.create_file(sys.argv[1], b"half")
"""


WRITE_UNDER_UMASK = """
import os, sys
from engine.storage.local_files import create_file, replace_file
os.umask(int(sys.argv[2], 8))
replace_file(sys.argv[1] + "/replaced", b"x")
create_file(sys.argv[1] + "/created", b"x")
"""


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_a_file_has_the_permissions_that_the_umask_leaves(
    tmp_path: Path, project_root: Path, umask: int
) -> None:
    environment = os.environ | {"PYTHONPATH": str(project_root)}
    command = [sys.executable, "-c", WRITE_UNDER_UMASK, str(tmp_path), oct(umask)]
    subprocess.run(command, env=environment, check=True)

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("replaced", "created"), 0o666 & ~umask)


def leave_half_a_file(folder: Path, root: Path) -> Path:
    """Leave the temporary file of a process that was killed while it wrote; return its path."""
    environment = os.environ | {"PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", DIE_HALF_WAY, str(folder / "record.json")], env=environment)
    (left,) = folder.iterdir()
    return left


def test_a_write_that_finds_no_room_names_its_file_and_leaves_nothing(tmp_path: Path) -> None:
    full = str(tmp_path / "record.json")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError, match=re.escape(full)):
            create_file(full, bytes(8192))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)

    assert list(tmp_path.iterdir()) == []


def test_two_clean_ups_may_sweep_one_folder_at_once(
    tmp_path: Path, project_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = leave_half_a_file(tmp_path, project_root)
    unlink = os.unlink

    def after_a_rival(path: str) -> None:
        unlink(path)
        unlink(path)  # raises, since the rival was faster

    monkeypatch.setattr(os, "unlink", after_a_rival)

    assert left.exists()
    assert remove_abandoned_files(str(tmp_path)) == []
    assert not left.exists()
