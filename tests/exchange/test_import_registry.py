"""The registry of gold formats: a user's format works without a change of the tree, and each names its options."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from engine.views import open_view
from pipelines.cli import build_app
from pipelines.exchange.importer import ImportOption
from pipelines.exchange.importers import IMPORTERS
from tests.plugins import write_plugin

CSV = '''
from student.gold.account import RecordError
from pipelines.exchange.gold.box_frames import make_frame
from student.gold.boxes import read_box
from pipelines.exchange.importer import Importer
from pipelines.exchange.gold.rows import GoldPhrase, RowBuilder


class CsvReader:
    """Lines of `caption,x0,y0,x1,y1`, each an image of 64 x 48 px with one box for the whole caption."""

    exhaustive = False
    problems = ()
    category_ids = None

    def __init__(self, path, options, account):
        self._path, self._options, self._account = path, options, account
        self.facts = {}

    def rows(self):
        builder = RowBuilder(self._options.images_url)
        for number, line in enumerate(self._path.read_text().splitlines()):
            self._account.count("lines")
            caption, *sides = line.split(",")
            frame = make_frame({"width": 64, "height": 48}, f"{number}.jpg", None)
            try:
                box = read_box([float(side) for side in sides], "xyxy", 64, 48, set())
            except RecordError as error:
                self._account.refuse("lines", number, error.code, error.detail)
                continue
            self._account.keep("lines", number)
            yield builder.build(frame, f"{number}.jpg", caption, [GoldPhrase(0, len(caption), caption, boxes=[box])])


ENTRY = Importer(CsvReader)
'''


def _import(*words: str) -> Result:
    return CliRunner().invoke(build_app(), ["gold", "import", *words, "--without-images"])


def test_a_users_format_becomes_gold_with_an_account_of_its_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_plugin(tmp_path / "plugin", "csv_gold", CSV)
    monkeypatch.syspath_prepend(tmp_path / "plugin")
    (tmp_path / "gold.csv").write_text("dog,0,0,10,10\ncat,5,5,5,9\n")

    words = (str(tmp_path / "gold.csv"), "--to", str(tmp_path / "gold"), "--max-refused", "0.5", "--json")
    done = _import("csv_gold:ENTRY", *words)

    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["records"]["lines"]["codes"] == {"box_empty": 1}
    [row] = open_view(str(tmp_path / "gold")).rows()
    assert (row["caption"], row["regions"][0]["x1"]) == ("dog", 10)


def test_an_option_that_a_format_would_ignore_is_refused_with_the_formats_that_use_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_plugin(tmp_path / "plugin", "csv_gold_of_no_option", CSV)
    monkeypatch.syspath_prepend(tmp_path / "plugin")
    (tmp_path / "gold.csv").write_text("")

    for format in ("csv_gold_of_no_option:ENTRY", "flickr30k"):
        words = (format, str(tmp_path / "gold.csv"), "--to", str(tmp_path / "gold"), "--negatives", "authors")
        done = _import(*words)

        assert done.exit_code == 2 and "--negatives is for coco and odvg" in done.stderr


@pytest.mark.parametrize("name", IMPORTERS.names())
def test_every_format_is_in_the_help_and_on_the_page(name: str, project_root: Path) -> None:
    text = CliRunner().invoke(build_app(), ["gold", "import", "--help"]).output

    assert name in text and f"gold import {name}" in (project_root / "docs/gold.md").read_text()
    assert IMPORTERS.load(name).options <= set(ImportOption)
