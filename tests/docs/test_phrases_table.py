"""The table of captions in docs/phrases.md is what the bundled pipeline says today."""

from __future__ import annotations

import re
from pathlib import Path

from pipelines.labels.phrases import mark_caption
from teacher.phrases.finder import SpacyPhraseFinder
from teacher.settings import PhraseSettings

ROW = re.compile(r"^\| `(.+)` \| (.*)\|$")
DROPPED = re.compile(r"\{([^{}]*): PH_[A-Z_]+\}")


def unmarked(text: str) -> str:
    return DROPPED.sub(r"\1", text).replace("[", "").replace("]", "")


def test_every_row_is_what_the_pipeline_finds_and_mistakes_are_marked(project_root: Path) -> None:
    lines = (project_root / "docs/phrases.md").read_text(encoding="utf-8").splitlines()
    table = lines[lines.index("## Sixty captions") :]
    rows = [match.groups() for line in table if (match := ROW.match(line))]
    shown = [text.replace("\\|", "|") for text, _ in rows]
    captions = [unmarked(text) for text in shown]

    found = SpacyPhraseFinder(PhraseSettings()).find(captions)

    assert len(captions) == 60 and sum(bool(remark.strip()) for _, remark in rows) >= 1
    assert [mark_caption(*pair) for pair in zip(captions, found)] == shown
