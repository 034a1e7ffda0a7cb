"""The README's commands, run word by word on a quick demo; cluster commands are parsed."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import traceback
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from pipelines.cli import build_app

GROUNDSWELL = [sys.executable, "-m", "pipelines.cli"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)
CLUSTER = ("--address", "s3://", "gs://")
REVIEWER = "a-test"


@pytest.fixture(scope="module")
def readme(project_root: Path) -> str:
    return (project_root / "README.md").read_text(encoding="utf-8")


def blocks(readme: str, language: str) -> list[str]:
    """Return the code blocks of a language, in order."""
    return [text for kind, text in BLOCK.findall(readme) if kind == language]


def commands(readme: str) -> list[list[str]]:
    """Return the words of every `groundswell` line of the bash blocks, in order, without comments."""
    lines = [line for text in blocks(readme, "bash") for line in text.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("groundswell ")]


def needs_cluster(words: list[str]) -> bool:
    return any(sign in word for word in words for sign in CLUSTER)


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_every_command_that_needs_no_cluster_runs_in_order_on_a_quick_demo(
    readme: str, quick_demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(quick_demo)
    for text in blocks(readme, "yaml"):
        name, body = text.split("\n", 1)
        Path(name.removeprefix("# ")).write_text(body)

    told = [words for words in commands(readme) if not needs_cluster(words)]
    for words in told:
        if words[1:3] == ["audit", "serve"]:
            review_one_region(words)
        else:
            run(words)

    assert Path("runs/labels.json").is_file() and Path("runs/pictures/sheet.jpg").is_file()
    verbs = "plan label status verify compile stats inspect export train evaluate audit model"
    assert {words[1] for words in told} >= set(verbs.split())


def run(words: list[str]) -> None:
    """In this process, on the test run's cluster: what a shell would start seventeen times is imported once."""
    answer = CliRunner().invoke(build_app(), words[1:])
    told = "".join(traceback.format_exception(answer.exception)) if answer.exception else ""
    assert answer.exit_code == 0, (
        f"{shlex.join(words)}: exit {answer.exit_code}\n{answer.stderr[-3000:]}\n{told}"
    )


def review_one_region(words: list[str]) -> None:
    """Start the page, give one verdict as the page does, end it with Ctrl-C."""
    command = [*GROUNDSWELL, *words[1:], "--port", "0", "--reviewer", REVIEWER]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            address = re.search(r"(http://\S+/)#(\S+)", process.stderr.readline())
            assert address is not None, "audit serve did not say its address"
            base, headers = address[1], {"x-groundswell-token": address[2]}
            verdict = {"event_id": "event-1", "position": 0, "verdict": "accept"}
            assert httpx.get(base).status_code == 200
            assert httpx.post(f"{base}api/verdicts", json=verdict, headers=headers).status_code == 201
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


def test_the_cluster_commands_name_verbs_and_options_that_exist(readme: str) -> None:
    told = [words for words in commands(readme) if needs_cluster(words)]
    assert told

    for words in told:
        help_text = CliRunner().invoke(build_app(), [words[1], "--help"]).stdout
        assert all(word in help_text for word in words if word.startswith("--")), shlex.join(words)


def test_the_manifest_that_the_readme_applies_exists(readme: str, project_root: Path) -> None:
    applied = re.findall(r"kubectl apply -f (\S+)", "\n".join(blocks(readme, "bash")))

    assert applied and all((project_root / path).is_file() for path in applied)


def test_every_relative_link_leads_to_a_file(readme: str, project_root: Path) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", readme)

    assert [link for link in links if not (project_root / link).exists()] == []


def test_the_make_targets_that_the_readme_names_exist(readme: str, project_root: Path) -> None:
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)\b", readme))
    makefile = (project_root / "Makefile").read_text()

    assert {name for name in named if not re.search(rf"^{name}:", makefile, re.M)} == set()
