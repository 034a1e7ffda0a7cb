"""Each page of docs/how-to adds its part with one new file outside the tree, and the commands of the page use it."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

import pipelines.cli
from tests.groundswell.conftest import CAPTIONS, SmallWorld, small_world  # noqa: F401 - a fixture
from tests.teacher.conftest import glip_folder  # noqa: F401 - a fixture

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)


@dataclass(frozen=True)
class Page:
    """A page that is followed in a folder: what the part's package would install, and a world to use it on."""

    folder: Path
    commands: list[list[str]]

    def run(self, words: list[str]) -> str:
        """Run a command in a process of its own, in which the part is installed. Return stdout."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(self.folder), str(Path.cwd())])}
        done = subprocess.run(
            [sys.executable, "-m", pipelines.cli.__name__, *words[1:]],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stderr}"
        return done.stdout

    def run_all(self) -> str:
        """Run all commands in order. Return stdout of the last one."""
        return [self.run(words) for words in self.commands][-1]


def follow(page: Path, world: SmallWorld, folder: Path) -> Page:
    """Write the page's files into a folder, with the metadata that an installed package has."""
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    texts = {kind: [text for other, text in blocks if other == kind] for kind, _ in blocks}
    for text in [*texts["python"], *texts.get("yaml", [])]:
        name, body = text.split("\n", 1)
        (folder / name.removeprefix("# ")).write_text(body)
    points = tomllib.loads(texts["toml"][0])["project"]["entry-points"]
    metadata = folder / "part-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: part\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in own.items()) for group, own in points.items()
        )
    )
    for link, target in (("runs/evidence", world.evidence), ("shards/00000.tar", world.shard)):
        (folder / link).parent.mkdir()
        (folder / link).symlink_to(target)
    (folder / "patch.bright").write_text("any bytes")
    lines = [line for text in texts["bash"] for line in text.splitlines() if line.startswith("groundswell ")]
    return Page(folder, [shlex.split(line, comments=True) for line in lines])


@pytest.fixture
def page(
    request: pytest.FixtureRequest,
    small_world: SmallWorld,  # noqa: F811
    project_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Page:
    monkeypatch.chdir(project_root)
    return follow(project_root / f"docs/how-to/{request.param}.md", small_world, tmp_path)


@pytest.mark.parametrize("page", ["add-an-exporter"], indirect=True)
def test_an_exporter_is_one_file(page: Page) -> None:
    report = json.loads(page.run_all())

    lines = list(csv.DictReader((page.folder / "runs/boxes.csv").read_text().splitlines()))
    assert len(lines) == report["annotations"] > 0 and report["images"] == len(CAPTIONS)
    assert "box_table" in page.run(["groundswell", "export", "--help"])


@pytest.mark.parametrize("page", ["add-a-policy-rule"], indirect=True)
def test_a_policy_rule_is_one_file(page: Page, small_world: SmallWorld) -> None:  # noqa: F811
    regions = json.loads(page.run_all())["regions"]

    assert regions["ignored"]["small_box"] > 0 and regions["kept"] > 0, regions
    assert "min_side_px" in page.run(["groundswell", "schema", "policy"])
    (page.folder / "policy.yaml").write_text("min_score: 0.05\n")
    words = ["groundswell", "compile", "runs/evidence", "policy.yaml", "--to", "runs/plain", "--json"]
    with_rule = json.loads(page.run(words))["policy_digest"]
    (page.folder / "part-1.0.dist-info/entry_points.txt").unlink()
    assert (
        json.loads(page.run(words))["policy_digest"] == with_rule
    )  # a policy that does not use it keeps its digest


@pytest.mark.parametrize("page", ["add-a-phrase-chunker"], indirect=True)
def test_a_phrase_chunker_is_one_file(page: Page) -> None:
    found = json.loads(page.run_all())

    assert [phrase["text"] for phrase in found["phrases"]] == ["dog", "bench"]


@pytest.mark.parametrize("page", ["add-a-teacher"], indirect=True)
def test_a_teacher_is_one_file(page: Page) -> None:
    labeled = json.loads(page.run_all())

    assert labeled["samples"]["labelled"] > 0 and labeled["regions"] > 0
    assert ".bright" in page.run(["groundswell", "model", "info", "patch.bright"])


@pytest.mark.parametrize("page", ["add-a-cli-verb"], indirect=True)
def test_a_verb_is_one_file(page: Page) -> None:
    assert json.loads(page.run_all()) == {"captions": list(CAPTIONS)}
    assert "captions" in page.run(["groundswell", "--help"])


def test_every_page_is_followed_and_listed(project_root: Path) -> None:
    pages = {path.name for path in (project_root / "docs/how-to").glob("*.md")}
    followed = set(re.findall(r'\["(add-[a-z-]+)"\]', Path(__file__).read_text()))
    index = (project_root / "docs/index.md").read_text(encoding="utf-8")

    assert pages == {f"{name}.md" for name in followed}
    assert [name for name in pages if f"(how-to/{name})" not in index] == []


def test_no_page_edits_a_file_of_the_tree(project_root: Path) -> None:
    for page in (project_root / "docs/how-to").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        assert "Nothing else is edited" in " ".join(text.split())
        assert len(re.findall(r"^```python\n# \w+\.py$", text, re.M)) == 1
