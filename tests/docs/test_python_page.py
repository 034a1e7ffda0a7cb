"""The code of docs/python.md runs as it is printed, from top to bottom, and names every public part."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import groundswell as gs
from tests.groundswell.conftest import SmallWorld, small_world  # noqa: F401 - a fixture
from tests.teacher.conftest import glip_folder  # noqa: F401 - a fixture

BLOCK = re.compile(r"^```python\n(.*?)^```", re.M | re.S)


@pytest.fixture(scope="module")
def page(project_root: Path) -> str:
    return (project_root / "docs/python.md").read_text(encoding="utf-8")


def test_the_code_of_the_page_runs_in_order(
    page: str,
    small_world: SmallWorld,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for link, target in (
        ("runs/evidence", small_world.evidence),
        (".demo/teacher/model", small_world.model),
    ):
        Path(link).parent.mkdir(parents=True)
        Path(link).symlink_to(target)

    blocks = BLOCK.findall(page)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)

    assert len(blocks) >= 6 and Path("sample.png").is_file() and Path("grounded.png").is_file()


def test_the_page_names_every_public_function(page: str) -> None:
    functions = [name for name in gs.__all__ if name[0].islower()]

    assert [name for name in functions if f"gs.{name}(" not in page] == []
