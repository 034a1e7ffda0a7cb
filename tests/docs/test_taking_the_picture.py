"""Picture, its numbers and the README's block are renewed by one command, from a demo that is whole."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from benchmarks import report_picture
from benchmarks.report_picture import PIXELS, PRINTED, block_of, pixels_digest, write_block
from pipelines.cli import build_app
from schemas.errors import ConflictError, NotFoundError

README = "intro 7.7\n\n## What they print\n\n```\nold 1.2\n```\n\nmore 3.4\n\n```\nanother block\n```\n"


@pytest.fixture
def readme(tmp_path: Path) -> Path:
    path = tmp_path / "README.md"
    path.write_text(README)
    return path


def test_only_the_block_of_numbers_is_written(readme: Path) -> None:
    write_block(readme, "new −5.6\n")

    assert readme.read_text() == README.replace("old 1.2", "new −5.6") and block_of(readme) == "new −5.6\n"
    readme.write_text("## Another title\n\n```\nold\n```\n")
    with pytest.raises(NotFoundError, match="What they print"):
        write_block(readme, "new\n")


@pytest.mark.ray
@pytest.mark.browser
@pytest.mark.timeout(600)
def test_one_command_takes_the_picture_and_writes_what_the_demo_printed(
    quick_demo: Path, readme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("playwright")
    if not any(map(shutil.which, ("chromium", "chromium-headless-shell"))):
        pytest.skip("needs a browser: neither chromium nor chromium-headless-shell is installed")
    monkeypatch.chdir(quick_demo)

    report_picture.main([".demo/report.html", str(tmp_path / "report.png"), "--readme", str(readme)])

    answer = CliRunner().invoke(build_app(), ["demo", "--quick"])
    steps = [line.split(": already done")[0] for line in answer.stderr.splitlines() if line.startswith("[")]
    summary = answer.stdout.split("next:\n")[0]
    picture = Image.open(tmp_path / "report.png")
    assert block_of(readme) == picture.info[PRINTED] == "\n".join(steps) + "\n" + summary
    assert pixels_digest(picture) == picture.info[PIXELS] and picture.size == (1120, 800)


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_report_that_its_demo_did_not_write_is_refused(quick_demo: Path, tmp_path: Path) -> None:
    report = shutil.copytree(quick_demo / ".demo/steps", tmp_path / "steps").parent / "report.html"
    text = (quick_demo / ".demo/report.html").read_text(encoding="utf-8")
    report.write_text(re.sub(r"\d", "9", text), encoding="utf-8")

    with pytest.raises(ConflictError, match="not what the demo wrote"):
        report_picture.main([str(report), str(tmp_path / "report.png")])

    (tmp_path / "steps/audit.json").unlink()
    with pytest.raises(NotFoundError, match="audit.json does not exist"):
        report_picture.main([str(report), str(tmp_path / "report.png")])
    assert not (tmp_path / "report.png").exists()
