"""Show that tests would notice a missing guard: remove one line of code at a time and expect the named test to fail.

A test module declares `MUTATIONS`. Run one or several:

    python -m tests.mutations tests/teacher/huggingface     # make mutations ONE=tests/teacher/huggingface

The tree is copied first, so nothing in the checkout changes. Exit 1 if a test passes without its guard.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = (
    "schemas",
    "engine",
    "teacher",
    "student",
    "pipelines",
    "deploy",
    "groundswell",
    "tests",
    "benchmarks",
)


@dataclass(frozen=True)
class Mutation:
    """A change that removes a guard, and the test that must fail then."""

    file: str
    """path from the project's root"""
    old: str
    """text that occurs exactly once"""
    new: str
    test: str
    """name of a test function in the module that declares the mutation"""


def _run_tests(folder: str, arguments: list[str]) -> int:
    """Run pytest in a fresh process on a copy of the tree. Return its exit code."""
    for name in [name for name in sys.modules if name.split(".")[0] in COPIED]:
        del sys.modules[name]
    sys.dont_write_bytecode = (
        True  # a copy has the checkout's compiled files, which stay valid by their times
    )
    sys.path[:] = [folder, *(place for place in sys.path if Path(place or ".").resolve() != ROOT)]
    os.chdir(folder)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    import pytest

    quiet = [
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
    ]  # of plugins that the preloaded modules import
    return int(pytest.main(["-q", "-n", "0", "-x", "-p", "no:cacheprovider", *quiet, *arguments]))


def run_mutation(mutation: Mutation, module: Path, root: Path = ROOT) -> bool:
    """Return whether the test fails on a copy of the tree with the change, and passes on one without it.

    raises: ValueError for a stale mutation, and for a test that fails without the change
    """
    if _run_unchanged(mutation.test, module, root) != 0:
        raise ValueError(
            f"{module.name}: {mutation.test} fails on a copy without any change; correct the test"
        )
    source = (root / mutation.file).read_text(encoding="utf-8")
    if source.count(mutation.old) != 1:
        raise ValueError(
            f"{mutation.file} has {source.count(mutation.old)} times {mutation.old!r}, expected once; correct the "
            "mutation"
        )
    changed = source.replace(mutation.old, mutation.new)
    return _run_copy(mutation.test, module, root, {mutation.file: changed}) == 1


@cache
def _run_unchanged(test: str, module: Path, root: Path) -> int:
    return _run_copy(test, module, root, {})


def _run_copy(test: str, module: Path, root: Path, changed: Mapping[str, str]) -> int:
    """Return pytest's exit code for a test on a copy of the tree, 0 or 1. changed: the text of files"""
    selected = [str(module.relative_to(root)), "-k", test]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in COPIED:
            shutil.copytree(root / name, copy / name)
        shutil.copy(root / "pyproject.toml", copy)
        for file, text in changed.items():
            (copy / file).write_text(text, encoding="utf-8")
        with ProcessPoolExecutor(1, mp_context=_context()) as process:
            code = process.submit(_run_tests, folder, selected).result()
    if code not in (0, 1):
        raise ValueError(
            f"pytest {' '.join(selected)} ended with code {code}, expected 0 or 1; correct the mutation"
        )
    return code


def _context() -> ForkServerContext:
    """Return processes that have the slow imports done, and nothing of this project."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["numpy", "pyarrow", "torch", "transformers"])
    return context


def find_mutations(places: list[Path]) -> list[tuple[Path, Mutation]]:
    """Return the mutations of all test modules in files or folders."""
    files = [
        file
        for place in places
        for file in ([place] if place.is_file() else sorted(place.rglob("test_*.py")))
    ]
    found = []
    for file in files:
        name = ".".join(file.resolve().relative_to(ROOT).with_suffix("").parts)
        found += [(file.resolve(), one) for one in getattr(importlib.import_module(name), "MUTATIONS", ())]
    return found


def main(places: list[str]) -> int:
    """Run the mutations below the places and print one line each."""
    survivors = 0
    found = find_mutations([Path(place) for place in places])
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for (_, mutation), noticed in zip(
            found, threads.map(lambda pair: run_mutation(pair[1], pair[0]), found), strict=True
        ):
            survivors += not noticed
            print(
                f"{'noticed ' if noticed else 'SURVIVED'} {mutation.test}: {mutation.file}: "
                f"{mutation.old.strip()[:80]!r}",
                flush=True,
            )
    print(f"{len(found)} mutations, {survivors} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
