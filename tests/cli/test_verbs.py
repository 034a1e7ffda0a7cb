"""The registry of verbs: a verb is one file, other packages can add verbs, and a broken one does not break the rest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import build_app, verbs
from pipelines.cli.registry import GROUP, list_families

ORDER = (
    "demo doctor schema plan label status retry verify clean compile diff stats inspect export check phrases train "
    "evaluate rounds gold model teacher audit"
)
FAMILY = """
import typer

from pipelines.cli.verb import VerbFamily

ENTRY = VerbFamily(order={order})


@ENTRY.verb("{name}", "groundswell {name} 3")
def double(number: int, as_json: bool = typer.Option(False, "--json")) -> None:
    \"\"\"Double a number.\"\"\"
    print(2 * number)
"""


def install(folder: Path, module: str, text: str, package: str = "extra") -> None:
    """Write a module and the metadata of an installed package whose entry point names it."""
    (folder / f"{module}.py").write_text(text)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{module} = {module}:ENTRY\n")


def groundswell(folder: Path, project_root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), str(project_root)])
    return subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *words],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )


def list_commands(help_text: str) -> list[str]:
    return re.findall(r"^  (\w+)", help_text.split("Commands:")[1].split("Example:")[0], re.M)


def test_help_lists_the_verbs_in_the_order_of_the_work() -> None:
    assert list_commands(CliRunner().invoke(build_app(), ["--help"]).stdout) == ORDER.split()


def test_every_file_of_the_folder_is_a_family_with_an_order_of_its_own() -> None:
    files = {path.stem for path in Path(verbs.__path__[0]).glob("*.py")} - {"__init__"}
    families = list_families()

    assert len(families) == len(files) == len({family.order for family in families})


def test_another_package_adds_a_verb_with_one_file(tmp_path: Path, project_root: Path) -> None:
    install(tmp_path, "doubling", FAMILY.format(order=25, name="double"))

    listed = list_commands(groundswell(tmp_path, project_root, "--help").stdout)
    result = groundswell(tmp_path, project_root, "double", "21")
    help_text = groundswell(tmp_path, project_root, "double", "--help").stdout

    assert listed[listed.index("doctor") : listed.index("schema") + 1] == ["doctor", "double", "schema"]
    assert (result.returncode, result.stdout, result.stderr) == (0, "42\n", "")
    assert "groundswell double 3" in help_text and "--no-progress" in help_text


@pytest.mark.parametrize("text", ["raise RuntimeError('no')", "import no_such_module", "ENTRY = 3"])
def test_a_package_whose_verbs_cannot_be_loaded_is_reported_and_the_others_work(
    text: str, tmp_path: Path, project_root: Path
) -> None:
    install(tmp_path, "broken", text)

    result = groundswell(tmp_path, project_root, "schema")

    assert result.returncode == 0 and "evidence" in result.stdout.split()
    assert result.stderr.startswith("warning: ") and "broken" in result.stderr


def test_a_package_that_reuses_the_name_of_an_entry_is_reported_and_the_verbs_work(
    tmp_path: Path, project_root: Path
) -> None:
    install(tmp_path, "label", FAMILY.format(order=25, name="double"))

    result = groundswell(tmp_path, project_root, "status", "--help")

    assert result.returncode == 0 and "Usage" in result.stdout
    assert "of the package 'extra' is left out" in result.stderr


def test_a_second_verb_of_one_name_is_refused(tmp_path: Path, project_root: Path) -> None:
    install(tmp_path, "doubling", FAMILY.format(order=25, name="label"))

    result = groundswell(tmp_path, project_root, "--help")

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: two packages add the verb 'label'")
