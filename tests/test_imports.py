"""The structure of the product, read from its source: imports point down and make no cycle, and start-up is light."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from tests.import_graph import PACKAGES, ImportGraph, SourceFile, find_cycles, imported_modules, quoted_paths

MAY_IMPORT = {
    "schemas": set(),
    "engine": {"schemas"},
    "teacher": {"schemas"},
    "student": {"schemas", "engine", "teacher"},
    "pipelines": {"schemas", "engine", "teacher", "student"},
    "deploy": {"schemas", "engine", "teacher", "student", "pipelines"},
    "groundswell": {"schemas", "engine", "teacher", "student", "pipelines"},
}
# only these packages import Ray: `pipelines` anywhere, the others in files named `ray_*.py`
RAY_FILES_ONLY = ("engine", "student")
MAX_FILES_PER_FOLDER = 15


@pytest.fixture(scope="module")
def graph(project_root: Path) -> ImportGraph:
    return ImportGraph(project_root)


def top_names(file: SourceFile) -> set[str]:
    """Return the first parts of all modules that a file imports."""
    return {name.split(".")[0] for name in imported_modules(file, {})}


def files_that_import(graph: ImportGraph, library: str) -> list[str]:
    return [str(file.path) for file in graph.files if library in top_names(file)]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_down_between_packages(graph: ImportGraph, package: str) -> None:
    forbidden = set(PACKAGES) - MAY_IMPORT[package] - {package}

    wrong = {
        str(file.path): sorted(bad)
        for file in graph.files
        if file.path.parts[0] == package and (bad := top_names(file) & forbidden)
    }

    assert wrong == {}


def test_no_files_import_each_other_in_a_cycle(graph: ImportGraph) -> None:
    assert find_cycles(graph.edges) == []


def test_no_folders_import_each_other_in_a_cycle(graph: ImportGraph) -> None:
    assert find_cycles(graph.folder_edges) == []


def test_no_string_names_a_module_of_ours(graph: ImportGraph) -> None:
    """A quoted path breaks when the file moves, and when the wheel puts a prefix before the package."""
    assert [path for file in graph.files for path in quoted_paths(file, graph.by_module)] == []


def test_every_class_name_is_defined_once(graph: ImportGraph) -> None:
    names = Counter(
        node.name
        for file in graph.files
        for node in file.walk(ast.ClassDef)
        if isinstance(node, ast.ClassDef)
    )

    assert [name for name, count in names.items() if count > 1] == []


def test_no_folder_has_too_many_files(graph: ImportGraph) -> None:
    files = Counter(str(file.path.parent) for file in graph.files)

    assert {folder: count for folder, count in files.items() if count > MAX_FILES_PER_FOLDER} == {}


def test_every_package_says_that_it_is_typed(project_root: Path) -> None:
    assert [name for name in PACKAGES if not (project_root / name / "py.typed").is_file()] == []


def test_ray_is_imported_only_where_the_design_allows(graph: ImportGraph) -> None:
    wrong = [
        path
        for path in files_that_import(graph, "ray")
        if Path(path).parts[0] != "pipelines"
        and not (Path(path).parts[0] in RAY_FILES_ONLY and Path(path).name.startswith("ray_"))
    ]

    assert wrong == []


def test_the_engine_imports_neither_torch_nor_a_language_library(graph: ImportGraph) -> None:
    heavy = {"torch", "transformers", "spacy", "onnxruntime"}
    engine = [file for file in graph.files if file.path.parts[0] == "engine"]

    wrong = {str(file.path): bad for file in engine if (bad := top_names(file) & heavy)}

    assert len(engine) > 50 and wrong == {}


def test_one_guarded_file_imports_torchvision(graph: ImportGraph) -> None:
    """GLIP uses torchvision's operators where they work. Nothing else may, because its wheels can break torch."""
    assert files_that_import(graph, "torchvision") == ["teacher/models/glip/layers/torchvision_ops.py"]


def test_starting_the_command_line_loads_no_heavy_library(project_root: Path) -> None:
    code = (
        "import sys, pipelines.cli as cli; cli.build_app(); "
        "heavy = {'torch', 'transformers', 'ray', 'spacy', 'onnxruntime', 'matplotlib', 'scipy', 'pyarrow', 'numpy'};"
        "print(sorted(heavy & set(sys.modules)))"
    )

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=project_root)

    assert (answer.stdout.strip(), answer.stderr) == ("[]", "")


def test_the_wheel_has_all_packages_and_no_tests(project_root: Path) -> None:
    config = tomllib.loads((project_root / "pyproject.toml").read_text())

    assert sorted(config["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == sorted(PACKAGES)


def test_the_image_has_all_packages(project_root: Path) -> None:
    lines = (project_root / "deploy/Dockerfile").read_text().splitlines()

    assert [name for name in PACKAGES if f"COPY {name} ./{name}" not in lines] == []


def test_lint_and_types_cover_all_packages_and_the_benchmarks(project_root: Path) -> None:
    tool = tomllib.loads((project_root / "pyproject.toml").read_text())["tool"]

    assert (
        sorted(tool["mypy"]["files"]) == sorted([*PACKAGES, "benchmarks"]) and tool["mypy"]["strict"] is True
    )
    assert "D401" in tool["ruff"]["lint"]["select"]
    assert set(tool["ruff"]["lint"]["per-file-ignores"]) == {"tests/**"}


def test_the_folders_of_the_engine_point_down(graph: ImportGraph) -> None:
    """storage <- reading <- ledger <- worker <- driver <- executors. None of the first four imports a view."""
    upper = ("engine.driver", "engine.executors", "engine.views")
    above = {
        "storage": ("engine.reading", "engine.ledger", "engine.worker", "engine.telemetry", *upper),
        "reading": ("engine.ledger", "engine.worker", "engine.telemetry", *upper),
        "ledger": ("engine.worker", "engine.telemetry", *upper),
        "worker": upper,
        "driver": ("engine.executors", "engine.views"),
    }

    wrong = [
        f"{file.path}: {module}"
        for folder, forbidden in above.items()
        for file in graph.files
        if file.path.parts[:2] == ("engine", folder)
        for module in imported_modules(file, graph.by_module)
        if module.startswith(forbidden)
    ]

    assert wrong == []


# ---- the readers of imports themselves


def write_package(folder: Path, **files: str) -> ImportGraph:
    for name, source in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return ImportGraph(folder)


@pytest.mark.parametrize(
    "back",
    [
        "import engine.a",
        "from engine import a",
        "from . import a",
        "from .a import x",
        "def f():\n    from engine.a import x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from engine.a import x",
        "import importlib\nimportlib.import_module('engine.a')",
        "FACTORY = 'engine.a:x'",
        "import importlib\nimportlib.import_module(f'{__package__}.a')",
    ],
)
def test_a_cycle_is_found_whatever_form_the_import_has(back: str, tmp_path: Path) -> None:
    graph = write_package(tmp_path, engine__a="from engine import b", engine__b=back)

    assert find_cycles(graph.edges) == [["engine/a.py", "engine/b.py"]]


def test_a_chain_of_imports_is_no_cycle(tmp_path: Path) -> None:
    graph = write_package(
        tmp_path, engine__a="from engine import b\nfrom engine.low import c", engine__b="", engine__low__c=""
    )

    assert find_cycles(graph.edges) == [] and graph.edges["engine/a.py"] == {"engine/b.py", "engine/low/c.py"}


def test_a_cycle_of_folders_is_found_where_the_files_have_none(tmp_path: Path) -> None:
    graph = write_package(
        tmp_path,
        engine__p__a="from engine.q import b",
        engine__q__b="",
        engine__q__c="from engine.p import d",
        engine__p__d="",
    )

    assert find_cycles(graph.edges) == []
    assert find_cycles(graph.folder_edges) == [["engine/p", "engine/q"]]


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("X = 'engine.a:make'", 1),
        ("COMMAND = ['python', '-m', 'engine.a']", 1),
        ("COMMAND = 'python -m engine.a'", 1),
        ("import logging\nlogging.getLogger('engine')", 1),
        ("ROOMS = ('schemas', 'engine', 'teacher')", 1),
        ("X = 'engine.speed'", 0),
        ('"""See `engine.a`."""', 0),
        ("from engine.a import x", 0),
    ],
)
def test_a_quoted_module_path_is_found(source: str, count: int, tmp_path: Path) -> None:
    graph = write_package(tmp_path, engine__a="", engine__b=source)

    assert len([path for file in graph.files for path in quoted_paths(file, graph.by_module)]) == count
