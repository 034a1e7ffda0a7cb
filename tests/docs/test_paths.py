"""Files that the pages name exist, and links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.import_graph import PACKAGES

FILE = re.compile(rf"`((?:{'|'.join((*PACKAGES, 'tests', 'benchmarks'))})/[\w./-]*\w)[`:]")
MODULE = re.compile(rf"-m ((?:{'|'.join((*PACKAGES, 'tests', 'benchmarks'))})(?:\.\w+)+)")
LINK = re.compile(r"\]\((?!https?://)([^)#]+)(?:#([\w-]+))?\)")
LAYOUT = "0008-layout-of-the-packages.md"


def all_pages() -> list[Path]:
    """Return the pages that describe the tree of today. The changelog names modules of its time."""
    root = Path(__file__).resolve().parents[2]
    pages = [*root.glob("*.md"), *(root / "docs").rglob("*.md")]
    return sorted(page for page in pages if page.name != "CHANGELOG.md")


@pytest.mark.parametrize("page", all_pages(), ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page: Path, project_root: Path) -> None:
    text = page.read_text(encoding="utf-8")
    if page.name == LAYOUT:  # its table has the old names, too
        text = text.split("<!-- table -->")[0]
    modules = [name.replace(".", "/") for name in MODULE.findall(text)]

    missing = [name for name in FILE.findall(text) if not (project_root / name).exists()]
    missing += [
        name
        for name in modules
        if not any((project_root / f"{name}{end}").exists() for end in (".py", "/__main__.py"))
    ]

    assert missing == []


@pytest.mark.parametrize("page", all_pages(), ids=lambda page: page.name)
def test_links_of_a_page_lead_to_a_file_and_a_heading(page: Path) -> None:
    dead = []
    for target, heading in LINK.findall(page.read_text(encoding="utf-8")):
        path = page.parent / target
        if not path.exists() or (heading and heading not in headings(path)):
            dead.append(f"{target}#{heading}")

    assert dead == []


def headings(page: Path) -> set[str]:
    """Return the anchors of a page, as GitHub makes them."""
    lines = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines}


def test_every_page_is_in_the_index(project_root: Path) -> None:
    index = (project_root / "docs/index.md").read_text(encoding="utf-8")
    pages = [path.name for path in (project_root / "docs").glob("*.md") if path.name != "index.md"]

    assert [page for page in pages if f"]({page})" not in index] == []
