"""The registry of export formats: a user's format works without a change of the tree, and its losses are counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from engine.views import write_view
from pipelines.cli import build_app
from pipelines.exchange.exporters import EXPORTERS
from tests.exchange.rows import make_region, make_row
from tests.plugins import write_plugin

CAPTIONS = """
from pipelines.exchange.exporter import Detail, EncodedFile, Exporter


def encode(labels, rows):
    lines = [f"{row['caption']}: {len(row['regions'])}" for row in rows]
    return EncodedFile("\\n".join(lines).encode(), 0)


ENTRY = Exporter("captions", encode, frozenset({Detail.WEIGHTS, Detail.DECOY_REGIONS}))
"""


def _export(tmp_path: Path, format: str, rows: list[dict[str, Any]]) -> Result:
    write_view(str(tmp_path / "view"), rows, kind="view", provenance={})
    words = [
        "export",
        str(tmp_path / "view"),
        "--format",
        format,
        "--to",
        str(tmp_path / "out.txt"),
        "--json",
    ]
    return CliRunner().invoke(build_app(), words)


def test_a_users_format_is_written_and_counts_only_what_it_cannot_represent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_plugin(tmp_path / "plugin", "caption_lines", CAPTIONS)
    monkeypatch.syspath_prepend(tmp_path / "plugin")
    regions = [make_region(weight=0.5), make_region(1, fate="class_only"), make_region(2)]

    done = _export(tmp_path, "caption_lines:ENTRY", [make_row(0, regions)])

    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "out.txt").read_text().endswith(": 2")
    lost = json.loads(done.stdout)["cannot_hold"]
    assert lost == {"class_only_regions": 1, "dropped_phrases": 1, "places": 1, "scores": 2}


@pytest.mark.parametrize("format", ["yolo", "no_such_module:ENTRY"])
def test_an_unknown_format_is_refused_before_anything_is_read_or_written(tmp_path: Path, format: str) -> None:
    done = _export(tmp_path, format, [make_row(0, [])])

    assert done.exit_code == 2 and format in done.stderr and "--format" in done.stderr
    assert not (tmp_path / "out.txt").exists()


def test_the_help_of_export_names_every_format() -> None:
    text = CliRunner().invoke(build_app(), ["export", "--help"]).output

    assert EXPORTERS.names() == ("coco", "mdetr", "odvg_mmdet", "odvg_open_gd", "odvg_tao") and all(
        name in text for name in EXPORTERS.names()
    )
