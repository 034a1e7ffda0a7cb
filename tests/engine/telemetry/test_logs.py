"""Log lines: one JSON object each, with run, unit and attempt, without secrets."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.reading.shard_cache import stat_shard
from engine.task import Task
from engine.telemetry import logs
from engine.threads import prefetch
from engine.worker.worker import Worker
from pipelines.label.resolved_job import ResolvedJob
from pipelines.label.run import label
from schemas.errors import ConfigError
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import job_of, plain_captions, write_shard

log = logging.getLogger("engine.tests")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    logs.configure(logs.LogSettings())


def json_lines(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_json_line_names_what_it_is_about(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(logs.parse_log_settings("json"), run="r-1")
    with logs.log_context(unit="u-1", attempt=2):
        log.info("two\nlines")
    log.debug("not at this level")
    log.warning("after")

    first, second = json_lines(capsys)
    assert {name: first[name] for name in ("level", "logger", "run", "unit", "attempt", "message")} == {
        "level": "info",
        "logger": "engine.tests",
        "run": "r-1",
        "unit": "u-1",
        "attempt": 2,
        "message": "two\nlines",
    }
    assert "unit" not in second and second["message"] == "after"


def test_what_one_thread_is_about_is_not_another_threads(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(logs.parse_log_settings("json"))
    with logs.log_context(unit="mine"):
        thread = threading.Thread(target=lambda: log.info("elsewhere"))
        thread.start()
        thread.join()

    assert "unit" not in json_lines(capsys)[0]


def test_what_is_made_ahead_is_about_the_same_unit(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(logs.parse_log_settings("json"))
    with logs.log_context(unit="u-3"):
        list(prefetch((log.info("made") for _ in range(1)), depth=1))

    assert json_lines(capsys)[0]["unit"] == "u-3"


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_line_holds_a_secret(
    form: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "abcdefghij0123456789")
    logs.configure(logs.parse_log_settings(form))
    try:
        raise ValueError("signed with abcdefghij0123456789")
    except ValueError:
        log.exception("the key abcdefghij0123456789 was refused")

    said = capsys.readouterr().err
    assert "was refused" in said and "Traceback" in said and "abcdefghij" not in said


def test_configuring_again_replaces_and_text_shows_warnings_alone(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(logs.parse_log_settings("json"))
    logs.configure(logs.parse_log_settings(""))
    log.info("not shown")
    log.warning("shown once")

    assert capsys.readouterr().err == "shown once\n"


def test_the_variable_or_the_option_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUNDSWELL_LOG", "json,debug")

    assert logs.parse_log_settings() == logs.LogSettings(format="json", level="debug")
    assert logs.parse_log_settings("json") == logs.LogSettings(format="json", level="info")
    assert logs.parse_log_settings("text") == logs.LogSettings(format="text", level="warning")
    with pytest.raises(ConfigError, match="'yaml': expected text or json"):
        logs.parse_log_settings("yaml")


def test_a_workers_lines_name_run_unit_and_attempt_and_no_key_or_caption(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    captions = [f"{caption} explode" for caption in plain_captions(1)] + plain_captions(3)
    job = job_of(tmp_path, [write_shard(tmp_path / "a.tar", captions)])
    label(job, factories=FACTORIES)
    job = job.model_copy(update={"evidence": job.evidence.model_copy(update={"min_score": 0.2})})
    resolved = ResolvedJob.resolve(job, FACTORIES)
    work = resolved.begin()
    work.find_committed()
    logs.configure(logs.parse_log_settings("json"))
    worker = Worker(resolved.spec.model_copy(update={"run_name": "r-7"}))

    worker.run(Task(shard=stat_shard(str(tmp_path / "a.tar")), attempt=2))
    task = work.next_task()
    assert task is not None and worker.run(task).entry is not None

    of_shard, of_unit = json_lines(capsys)
    assert (of_shard["run"], of_shard["attempt"]) == ("r-7", 2) and "4 samples" in of_shard["message"]
    assert (of_unit["unit"], of_unit["attempt"]) == (task.name, 1)
    assert of_unit["message"].startswith("committed: 4 samples")
    assert not any(word in json.dumps([of_shard, of_unit]) for word in ("patch", "00000.", "a.tar"))


@pytest.mark.ray
def test_workers_on_ray_leave_json_lines_beside_the_evidence(tmp_path: Path, ray_cluster: None) -> None:
    logs.configure(logs.parse_log_settings("json"))
    shard = write_shard(tmp_path / "a.tar", plain_captions(12))
    summary = label(
        job_of(tmp_path, [shard], run={"executor": "ray", "cpus_per_actor": 0.5}), factories=FACTORIES
    )

    kept = [line for path in (tmp_path / "out" / "logs").iterdir() for line in path.read_text().splitlines()]
    lines = [json.loads(line) for line in kept if line.startswith("{")]
    committed = [line for line in lines if line["message"].startswith("committed")]
    assert len(committed) == len({line["unit"] for line in committed}) == summary["units"]["committed"] == 2
    runs = {path.stem for path in (tmp_path / "out" / "progress").iterdir()}
    assert {line["run"] for line in lines} == runs and {line["attempt"] for line in lines} == {1}
