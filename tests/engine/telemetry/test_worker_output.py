from __future__ import annotations

import os
from pathlib import Path

from engine.storage.store import open_store
from engine.telemetry.worker_output import MAX_BYTES, read_output, save_outputs


def test_what_a_worker_printed_is_kept_without_rays_own_marks(tmp_path: Path) -> None:
    (tmp_path / "w.err").write_bytes(b":job_id:01000000\n:actor_name:TeacherActor\nCUDA is \xff unwell\n")
    (tmp_path / "w.out").write_text(":job_id:01000000\n")

    save_outputs(open_store(f"{tmp_path}/out"), [f"{tmp_path}/w.err", f"{tmp_path}/w.out"])

    assert [path.name for path in (tmp_path / "out" / "logs").iterdir()] == ["w.err.log"]
    assert (tmp_path / "out" / "logs" / "w.err.log").read_text() == "CUDA is \ufffd unwell\n"


def test_a_worker_elsewhere_or_at_a_terminal_gives_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    assert [read_output(str(tmp_path / name)) for name in ("nowhere", "pipe")] == ["", ""]


def test_only_the_end_of_much_is_kept(tmp_path: Path) -> None:
    (tmp_path / "w.err").write_text("x" * (2 * MAX_BYTES) + "\nthe end")

    assert read_output(f"{tmp_path}/w.err").endswith("the end")
    assert len(read_output(f"{tmp_path}/w.err")) <= MAX_BYTES


def test_an_output_that_cannot_be_written_costs_the_log_alone(tmp_path: Path) -> None:
    (tmp_path / "w.err").write_text("something")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "logs").write_text("a file where a folder should be")

    save_outputs(open_store(f"{tmp_path}/out"), [f"{tmp_path}/w.err"])

    assert (tmp_path / "out" / "logs").is_file()
