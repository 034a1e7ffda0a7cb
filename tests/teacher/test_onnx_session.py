"""Opening ONNX models: nothing is sent to anyone, and a file that is not a model is named."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.errors import ConfigError

ONLY = Path("teacher/detectors/onnx_session.py")


def test_opening_a_model_leaves_no_trace_of_the_librarys_reporting(
    tmp_path: Path, project_root: Path
) -> None:
    """With reporting on, the mere import writes a device id and a session file (onnxruntime 1.32, its Privacy.md)."""
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}

    subprocess.run(
        [sys.executable, "-c", "import teacher.detectors.onnx_session"],
        env=environment | {"PYTHONPATH": str(project_root)},
        cwd=tmp_path,
        check=True,
    )

    assert list(tmp_path.rglob("*")) == []


def test_the_library_is_imported_in_one_place_alone(project_root: Path) -> None:
    users = [
        path.relative_to(project_root)
        for room in ("schemas", "engine", "teacher", "student", "pipelines")
        for path in (project_root / room).rglob("*.py")
        if "onnxruntime" in _imported(path)
    ]

    assert users == [ONLY]


def test_a_file_that_is_no_model_is_a_configuration_error_with_its_name(tmp_path: Path) -> None:
    from teacher.detectors.onnx_session import open_onnx

    (tmp_path / "page.onnx").write_bytes(b"<html>not found</html>")

    with pytest.raises(ConfigError, match=r"page\.onnx is not an ONNX model"):
        open_onnx(tmp_path / "page.onnx")


def _imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    named = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    named += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in named}
