"""Errors that every verb handles, and the options that every verb has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from pipelines.cli import build_app
from pipelines.cli.verb import handle_errors
from pipelines.terminal.progress import ProgressPrinter
from schemas.errors import NotFoundError


def invoked(*words: str, error: BaseException | None = None, **environment: str) -> Result:
    app = typer.Typer()

    @app.command()
    @handle_errors
    def work(size: int = 1) -> None:
        """Work."""
        ProgressPrinter(every_s=0)("steps", size, 2)
        if error is not None:
            raise error

    return CliRunner().invoke(app, list(words), env=environment)


def test_an_unexpected_error_is_one_line_and_a_stored_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    result = invoked("--no-progress", error=KeyError("colour\nof money"))

    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "error: KeyError: 'colour" in result.stderr and "Traceback" not in result.stderr
    kept = Path(re.search(r"the traceback is in (\S+),", result.stderr)[1])
    assert "Traceback" in kept.read_text() and kept.stat().st_mode & 0o077 == 0


def test_notes_of_an_error_are_printed_after_it() -> None:
    error = NotFoundError("no such shard")
    error.add_note("and then OSError: the disk went away")

    result = invoked("--no-progress", error=error)

    assert result.stderr == "error: no such shard\nand then OSError: the disk went away\n"


def test_a_stored_traceback_contains_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "abcdefghij0123456789")

    result = invoked(error=RuntimeError("key abcdefghij0123456789"))

    assert "abcdefghij" not in result.output + next(tmp_path.iterdir()).read_text()


@pytest.mark.parametrize(("words", "environment"), [(["--debug"], {}), ([], {"GROUNDSWELL_DEBUG": "1"})])
def test_debugging_shows_the_traceback(
    words: list[str], environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    result = invoked(*words, error=KeyError("colour"), **environment)

    assert "Traceback" in result.stderr and result.stderr.splitlines()[-1].startswith("error: KeyError")


def test_no_progress_is_no_progress_and_a_pipe_gets_no_bar() -> None:
    assert invoked("--no-progress", "--size", "2").stderr == ""
    assert invoked("--size", "2", GROUNDSWELL_NO_PROGRESS="1").stderr == ""
    assert invoked("--size", "2").stderr.startswith("steps  2/2")


def test_an_interrupt_and_a_usage_error_keep_their_exit_codes() -> None:
    assert invoked(error=KeyboardInterrupt()).exit_code == 130
    assert invoked("--size", "many").exit_code == 2
    assert invoked(error=typer.Exit(3)).exit_code == 3


@pytest.mark.parametrize("name", ["plan", "label", "status", "retry", "verify", "demo", "train", "compile"])
def test_every_long_verb_can_be_quiet_and_debugged(name: str) -> None:
    text = CliRunner().invoke(build_app(), [name, "--help"]).stdout

    assert "--no-progress" in text and "--debug" in text


def test_a_connection_error_is_not_reported_as_a_full_disk() -> None:
    result = invoked(error=ConnectionError("s3://bucket/out: nobody answers"))

    assert result.exit_code == 6
    assert "AWS_ENDPOINT_URL" in result.stderr and "space" not in result.stderr
