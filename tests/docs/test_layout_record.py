"""The table old file -> new file of the decision on the layout leads to files that exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.layout_table import RECORD, REMOVED, read_table


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
