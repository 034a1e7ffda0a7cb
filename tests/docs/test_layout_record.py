"""The table old file -> new file of the decision on the layout leads to files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.layout_table import RECORD, REMOVED, read_table
from tests.import_graph import ImportGraph

_ROW = re.compile(r"^\| `(engine|teacher|student|pipelines)` \| ([^;|]*)", re.M)


@pytest.fixture(scope="module")
def table() -> dict[str, str]:
    return read_table(RECORD.read_text(encoding="utf-8"))


def test_every_new_file_of_the_table_exists(table: dict[str, str], project_root: Path) -> None:
    files = [new for new in table.values() if " " not in new and new != REMOVED]

    assert len(files) > 150 and [new for new in files if not (project_root / new).is_file()] == []


def test_no_old_file_is_left_unless_another_file_has_its_name_now(
    table: dict[str, str], project_root: Path
) -> None:
    left = [old for old in table if (project_root / old).exists() and old not in table.values()]

    assert left == []


def test_the_folders_are_listed_from_low_to_high_and_none_is_missing(project_root: Path) -> None:
    rows = _ROW.findall(RECORD.read_text(encoding="utf-8"))
    order = {package: re.findall(r"`(\w+)`", folders) for package, folders in rows}
    assert len(order) == 4
    for package, folders in order.items():
        made = {path.parent.name for path in (project_root / package).glob("*/__init__.py")}
        assert sorted(folders) == sorted(made)
    imports = [
        (source.parts, target.parts)
        for path, targets in ImportGraph(project_root, order).edges.items()
        for source, target in ((Path(path), Path(name)) for name in targets)
        if len(source.parts) > 2 and len(target.parts) > 2 and source.parts[0] == target.parts[0]
    ]

    wrong = {
        f"{package}: {low} imports {high}"
        for (package, low, *_), (_, high, *_) in imports
        if order[package].index(low) < order[package].index(high)
    }

    assert len(imports) > 100 and wrong == set()
