"""The rooms' walls, read from the source: imports point down, Ray has four places, start-up is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOMS = ("schemas", "engine", "teacher", "student", "pipelines", "deploy")
MAY_IMPORT = {
    "schemas": set(),
    "engine": {"schemas"},
    "teacher": {"schemas"},
    "student": {"schemas", "engine", "teacher"},
    "pipelines": {"schemas", "engine", "teacher", "student"},
    "deploy": {"schemas", "engine", "teacher", "student", "pipelines"},
}
# R5.3: Ray is imported in `pipelines` and in files of `engine` and `student` named `ray_*.py`
RAY_ROOMS = ("engine", "student")


def imported_names(path: Path) -> set[str]:
    """Top-level names that a file imports anywhere, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def files_of(root: Path, room: str) -> list[Path]:
    return sorted((root / room).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_down(project_root: Path, room: str) -> None:
    wrong = {
        str(path.relative_to(project_root)): sorted(bad)
        for path in files_of(project_root, room)
        if (bad := imported_names(path) & (set(ROOMS) - MAY_IMPORT[room] - {room}))
    }

    assert wrong == {}


def test_ray_is_imported_only_where_the_design_allows(project_root: Path) -> None:
    files = [path for room in ROOMS for path in files_of(project_root, room)]
    users = [str(path.relative_to(project_root)) for path in files if "ray" in imported_names(path)]

    wrong = [
        user
        for user in users
        if not user.startswith("pipelines/")
        and not (user.startswith(RAY_ROOMS) and Path(user).name.startswith("ray_"))
    ]
    assert wrong == []


def test_the_engine_knows_neither_torch_nor_a_language_library(project_root: Path) -> None:
    heavy = {"torch", "transformers", "spacy", "onnxruntime"}

    wrong = {path.name: imported_names(path) & heavy for path in files_of(project_root, "engine")}

    assert {name: bad for name, bad in wrong.items() if bad} == {}


def test_one_guarded_file_imports_torchvision(project_root: Path) -> None:
    """GLIP uses torchvision's operators where they work; everything else does without (its wheels break torch)."""
    users = [
        str(path.relative_to(project_root))
        for room in ROOMS
        for path in files_of(project_root, room)
        if "torchvision" in imported_names(path)
    ]

    assert users == ["teacher/models/glip/layers/torchvision_ops.py"]


def test_starting_the_command_line_loads_no_heavy_library(project_root: Path) -> None:
    code = (
        "import sys, pipelines.cli as cli; cli.build_app(); "
        "heavy = {'torch', 'transformers', 'ray', 'spacy', 'onnxruntime', 'matplotlib', 'scipy', 'pyarrow', 'numpy'};"
        "print(sorted(heavy & set(sys.modules)))"
    )

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=project_root)

    assert (answer.stdout.strip(), answer.stderr) == ("[]", "")


def test_the_wheel_names_its_packages_and_not_the_tests(project_root: Path) -> None:
    import tomllib

    config = tomllib.loads((project_root / "pyproject.toml").read_text())

    assert sorted(config["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == sorted(ROOMS)


def test_the_engines_rooms_point_down_too(project_root: Path) -> None:
    """storage <- reading <- ledger <- worker <- driver <- executors; none of the first four imports a view."""
    upper = ("engine.driver", "engine.executors", "engine.views")
    above = {
        "storage": ("engine.reading", "engine.ledger", "engine.worker", "engine.telemetry", *upper),
        "reading": ("engine.ledger", "engine.worker", "engine.telemetry", *upper),
        "ledger": ("engine.worker", "engine.telemetry", *upper),
        "worker": upper,
        "driver": ("engine.executors", "engine.views"),
    }

    wrong = [
        f"{path.relative_to(project_root)}: {module}"
        for room, forbidden in above.items()
        for path in files_of(project_root, f"engine/{room}")
        for module in full_names(path)
        if module.startswith(forbidden)
    ]

    assert wrong == []


def full_names(path: Path) -> set[str]:
    """Modules that a file imports from, in full."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
