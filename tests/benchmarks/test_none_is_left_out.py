"""Every benchmark has a smoke test, and what Makefile and pages tell to run exists with its options."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

NAMED = re.compile(r"-m\s+benchmarks\.([a-z_]+)([^`#\n]*)")
TARGET = re.compile(r"^((?:bench|headline)[a-z-]*):.*\n((?:\t.*\n)+)", re.M)


def benchmarks(root: Path) -> set[str]:
    """Modules and packages of `benchmarks/` that can be run."""
    scripts = {path.stem for path in root.glob("*.py") if "\nif __name__ == " in path.read_text()}
    return scripts | {path.parent.name for path in root.glob("*/__main__.py")}


def find_smoked(source: str) -> Iterator[str]:
    """Benchmarks whose `main` a test of this file calls, other than in a slow test."""
    tree = ast.parse(source)
    mains: dict[str, str] = {}  # what the file writes for a benchmark's main -> the benchmark
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "benchmarks":
            package = node.module.split(".")[1:]
            for alias in node.names:
                path, name = [*package, alias.name], alias.asname or alias.name
                mains[name if path[-1] == "main" else f"{name}.main"] = path[0]
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and not any(
            "slow" in text for text in _decorators(function)
        ):
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and (name := mains.get(ast.unparse(node.func))):
                    yield name


def _decorators(function: ast.FunctionDef) -> list[str]:
    return [ast.unparse(decorator) for decorator in function.decorator_list]


@pytest.fixture(scope="module")
def with_a_test(project_root: Path) -> set[str]:
    files = (project_root / "tests").rglob("test_*.py")
    return {name for path in files for name in find_smoked(path.read_text(encoding="utf-8"))}


def test_every_benchmark_is_run_by_a_test(project_root: Path, with_a_test: set[str]) -> None:
    found = benchmarks(project_root / "benchmarks")

    assert found >= {"compile_speed", "engine", "headline", "report_picture"}
    assert sorted(found - with_a_test) == [], "a benchmark needs a test that calls its main on a small size"


def test_every_benchmark_of_the_makefile_is_run_by_a_test(project_root: Path, with_a_test: set[str]) -> None:
    targets = TARGET.findall((project_root / "Makefile").read_text())
    without = {
        target for target, recipe in targets if not {name for name, _ in NAMED.findall(recipe)} & with_a_test
    }

    assert len(targets) >= 9 and without == set()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from benchmarks import loader\ndef test_it():\n  loader.main([])", {"loader"}),
        ("from benchmarks.headline.__main__ import main\ndef test_it():\n  main(['base'])", {"headline"}),
        ("from benchmarks.engine import __main__ as e\ndef test_it():\n  e.main([])", {"engine"}),
        ("from benchmarks import loader\ndef test_it():\n  loader._compare()", set()),
        ("from benchmarks import loader\n@pytest.mark.slow\ndef test_it():\n  loader.main([])", set()),
    ],
)
def test_only_a_call_of_the_entry_point_in_a_quick_test_counts(source: str, expected: set[str]) -> None:
    assert set(find_smoked(source)) == expected


def commands(root: Path) -> Iterator[tuple[str, str, str]]:
    """(file, benchmark, options) of every `-m benchmarks.X` that pages, Makefile and the benchmarks themselves tell."""
    pages = [
        *root.glob("*.md"),
        *root.glob("docs/**/*.md"),
        root / "Makefile",
        *root.glob("benchmarks/**/*.py"),
    ]
    for page in pages:
        for name, rest in NAMED.findall(page.read_text(encoding="utf-8")):
            yield str(page.relative_to(root)), name, rest


def test_every_option_that_a_page_names_exists(
    project_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = sorted(set(commands(project_root)))
    helps = {}
    for name in {name for _, name, _ in told}:
        place = "benchmarks." + (
            f"{name}.__main__" if (project_root / "benchmarks" / name).is_dir() else name
        )
        with pytest.raises(SystemExit):
            importlib.import_module(place).main(["--help"])
        helps[name] = capsys.readouterr().out

    wrong = [
        (page, name, option)
        for page, name, rest in told
        for option in re.findall(r"--[a-z-]+", rest)
        if not re.search(rf"{option}\b", helps[name])
    ]
    assert len(told) > 20 and wrong == []
