"""The code that decides a cell's result, as a digest: other code may give other numbers, so its cells run again.

Comments, docstrings and blank lines are not part of it. Each kind of cell names the files that it runs, so a change of
the evaluation trains nothing again.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from schemas.digests import digest_of, sha256_hex

ROOT = Path(__file__).resolve().parents[2]
_VIEWS = ("engine/views.py", "engine/view_manifest.py")
_WORLD = ("pipelines/demo/world/*.py", *_VIEWS, "schemas/*.py")
_READING = ("schemas/*.py", "engine/reading/**/*.py", *_VIEWS)
_MODEL = ("teacher/models/**/*.py",)
_NOUNS = (
    "teacher/nouns/*.py",
    "teacher/nouns/data/*.xz",
    "teacher/detectors/class_names.py",
    "teacher/detectors/coco_classes.py",
    "teacher/phrases/tagging/*.py",
)
_STUDENT = tuple(
    f"student/{folder}/*.py" for folder in ("settings", "data", "prompts", "batches", "training", "models")
)
_HERE = "benchmarks/headline"
# Patterns below the root; a test checks that each matches a file.
SOURCES: dict[str, tuple[str, ...]] = {
    "gold": _WORLD,
    "web": _WORLD,
    "recaptioned": (*_WORLD, f"{_HERE}/changed_webs.py"),
    "task": (*_WORLD, f"{_HERE}/stages.py"),
    "start": (*_MODEL, "pipelines/demo/initial_model.py", "pipelines/demo/world/lexicon.py"),
    "evidence": (
        *_READING,
        "teacher/**/*.py",
        "teacher/phrases/data/*",
        "engine/worker/*.py",
        "engine/task.py",
        "engine/threads.py",
    ),
    "view": (
        *_READING,
        "pipelines/compile/**/*.py",
        "pipelines/labels/evidence.py",
        "teacher/phrases/**/*.py",
        "teacher/phrases/data/*",
    ),
    "changed_view": (*_READING, f"{_HERE}/changed_views.py", "pipelines/demo/oracle.py"),
    "train": (*_READING, *_MODEL, "teacher/grounding/*.py", *_NOUNS, *_STUDENT),
    "evaluate": (
        *_READING,
        *_MODEL,
        "teacher/detectors/*.py",
        "teacher/labelers/*.py",
        "teacher/grounding/*.py",
        "teacher/prompts/*.py",
        "teacher/factories.py",
        "teacher/registry.py",
        "engine/worker/*.py",
        "engine/task.py",
        "student/evaluate/**/*.py",
    ),
}
# These write down what was learned. They do not change it.
_REPORTING = frozenset({"student/training/model_card.py", "student/training/log_images.py"})
_LIBRARIES = ("torch", "numpy", "pillow", "transformers")


@lru_cache
def code_of(kind: str) -> str:
    """Return a digest of the sources of a kind of cell and of the libraries that do its arithmetic."""
    files = sorted({file for pattern in SOURCES[kind] for file in ROOT.glob(pattern)})
    digests = {
        name: _digest(file) for file in files if (name := str(file.relative_to(ROOT))) not in _REPORTING
    }
    return digest_of([digests, {name: version(name) for name in _LIBRARIES}])


@lru_cache
def _digest(file: Path) -> str:
    if file.suffix != ".py":
        return sha256_hex(file.read_bytes())
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [part for part in node.body if not _is_text(part)] or [ast.Pass()]
    return sha256_hex(ast.dump(tree).encode())


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
