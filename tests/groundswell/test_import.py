"""Importing the public API is light, and makes GLIP known to transformers whichever is imported first."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import groundswell as gs
from tests.groundswell.conftest import SmallWorld

HEAVY = "{'torch', 'transformers', 'ray', 'spacy', 'pandas', 'pyarrow', 'onnxruntime', 'scipy'}"
LOAD = """
from transformers import AutoConfig, AutoModel, AutoModelForZeroShotObjectDetection, AutoProcessor
path = sys.argv[1]
names = [type(AutoConfig.from_pretrained(path)).__name__, type(AutoProcessor.from_pretrained(path)).__name__]
names += [type(auto.from_pretrained(path)).__name__ for auto in (AutoModel, AutoModelForZeroShotObjectDetection)]
print(*names)
"""
LOADED = "GlipConfig GlipProcessor GlipModel GlipForGrounding"


def run_python(code: str, *arguments: str, cwd: Path) -> str:
    """Return what the code prints in a process of its own. Warnings are errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", code, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_import_loads_no_heavy_library(project_root: Path) -> None:
    code = f"import sys, groundswell, groundswell.entry; print(sorted({HEAVY} & set(sys.modules)))"

    assert run_python(code, cwd=project_root) == "[]"


def test_opening_and_compiling_labels_loads_no_model_library(
    small_world: SmallWorld, project_root: Path, tmp_path: Path
) -> None:
    code = (
        "import sys, groundswell as gs\n"
        "evidence = gs.open_evidence(sys.argv[1])\n"
        "gs.compile(evidence, {'min_score': 0.1}, to=sys.argv[2])\n"
        "gs.draw(next(iter(gs.open_view(sys.argv[2]))))\n"
        "print(sorted({'torch', 'transformers', 'ray', 'spacy', 'onnxruntime'} & set(sys.modules)))"
    )

    found = run_python(code, str(small_world.evidence), str(tmp_path / "view"), cwd=project_root)

    assert found == "[]"


@pytest.mark.parametrize(
    "order",
    [
        "import groundswell",
        "from transformers import AutoModel, AutoProcessor\nimport groundswell",
        "from transformers import AutoConfig\nAutoConfig\nimport groundswell",
    ],
)
def test_transformers_loads_glip_whichever_is_imported_first(
    order: str, small_world: SmallWorld, project_root: Path
) -> None:
    assert run_python(f"import sys\n{order}\n{LOAD}", str(small_world.model), cwd=project_root) == LOADED


def test_transformers_alone_does_not_know_glip(small_world: SmallWorld, project_root: Path) -> None:
    """Without this, the test above would pass for a transformers that has a GLIP of its own."""
    with pytest.raises(AssertionError, match="glip"):
        run_python(f"import sys\n{LOAD}", str(small_world.model), cwd=project_root)


def test_every_public_name_can_be_loaded_and_no_other() -> None:
    assert {name for name in gs.__all__ if getattr(gs, name) is None} == set()
    assert set(gs.__all__) <= set(dir(gs))
    with pytest.raises(AttributeError, match="open_view"):
        _ = gs.open_viwe  # type: ignore[attr-defined]


def test_the_package_names_its_entry_points_in_the_public_package(project_root: Path) -> None:
    project = tomllib.loads((project_root / "pyproject.toml").read_text())["project"]
    points = {**project["scripts"], **project["entry-points"]["spacy_factories"]}

    assert {point.split(":")[0] for point in points.values()} == {"groundswell.entry"}
    assert all(
        callable(getattr(import_module("groundswell.entry"), p.split(":")[1])) for p in points.values()
    )


def test_the_console_script_is_the_command_line(project_root: Path) -> None:
    code = "import sys\nfrom groundswell.entry import main\nsys.argv = ['groundswell', '--help']\nmain()"

    assert "compile" in run_python(code, cwd=project_root)


def test_no_module_has_the_name_of_a_top_level_package(project_root: Path) -> None:
    packages = {path.parent.name for path in project_root.glob("*/__init__.py")}

    assert {path.stem for path in (project_root / "groundswell").glob("*.py")} & packages == set()
