"""The command line: help that ends in an example, data on stdout, errors with an exit code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipelines.cli import build_app
from pipelines.demo.layout import DemoLayout
from pipelines.label.run import label
from pipelines.terminal.progress import ProgressPrinter, format_clock
from pipelines.terminal.table import format_table
from schemas.errors import ConflictError, NotFoundError, RuntimeEnvironmentError
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import job_of, plain_captions, write_shard

ONE_WORD = (
    "demo doctor schema plan label status retry verify clean compile diff stats inspect export check train evaluate "
    "phrases rounds"
)
VERBS = [
    *[[name] for name in ONE_WORD.split()],
    ["gold", "import"],
    ["model", "info"],
    ["teacher", "try"],
    *[["audit", name] for name in ("sample", "serve", "report")],
]


def groundswell(*words: str) -> Result:
    return CliRunner().invoke(build_app(), list(words))


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_verbs_help_ends_in_an_example_of_itself(words: list[str]) -> None:
    help_text = groundswell(*words, "--help").stdout

    end = help_text.split("Example:")[-1]
    assert " ".join(["groundswell", *words]) in end


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_no_help_names_the_value_of_an_option_by_its_python_type(words: list[str]) -> None:
    help_text = groundswell(*words, "--help").stdout

    assert not re.search(r"^ +-.*<(str|int|float|path|list)\b", help_text, re.M)


def test_the_verbs_are_those_of_the_design_and_no_stub_is_listed() -> None:
    listed = groundswell("--help").stdout.split("Commands:")[1].split("Example:")[0]

    names = set(re.findall(r"^  (\w+)", listed, re.M))
    assert names == {words[0] for words in VERBS}


def test_the_exit_codes_are_documented_in_the_help() -> None:
    text = " ".join(groundswell("--help").stdout.split())

    assert "2 usage or configuration" in text and "130 interrupted" in text


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["label", "nowhere.yaml"], NotFoundError.exit_code),
        (["status", "/nowhere/at/all"], NotFoundError.exit_code),
        (["model", "info", "/nowhere"], NotFoundError.exit_code),
        (["schema", "nothing"], 2),
        (["evaluate", "/nowhere.json", "--gold", "/nowhere/gold.json"], NotFoundError.exit_code),
        (["label"], 2),
        (["label", "job.yaml", "--colour", "red"], 2),
    ],
)
def test_an_error_is_one_message_on_stderr_and_its_exit_code(
    words: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    result = groundswell(*words)

    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr and "Traceback" not in result.stderr


def test_a_mistake_in_a_job_is_reported_with_file_line_and_column(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text("input: {urls: [a.tar]}\nteacher: {kind: glip, modle: x}\noutput: {url: out}\n")

    result = groundswell("plan", str(job))

    assert result.exit_code == 2
    assert f"{job}:2:23: teacher.modle: unknown field; did you mean 'model'?" in result.stderr


@pytest.mark.parametrize(
    "name", ["job", "policy", "train", "commit", "snapshot", "evidence", "view", "rejections"]
)
def test_a_schema_is_json_schema_with_descriptions(name: str) -> None:
    schema = json.loads(groundswell("schema", name).stdout)

    assert schema["type"] == "object" and schema["properties"]


def test_doctor_reports_its_findings_as_json() -> None:
    result = groundswell("doctor", "--json")

    found = json.loads(result.stdout)
    assert {item["check"] for item in found["checks"]} >= {
        "python",
        "torch",
        "torchvision",
        "phrases",
        "disk",
    }
    assert all(item["ok"] or item["fix"] for item in found["checks"])
    assert result.exit_code == (0 if found["ok"] else RuntimeEnvironmentError.exit_code)


def test_doctor_finds_that_a_store_honours_conditional_writes(tmp_path: Path) -> None:
    found = json.loads(groundswell("doctor", "--json", "--store", str(tmp_path)).stdout)

    store = next(item for item in found["checks"] if item["check"] == "store")
    assert store["ok"], store
    assert list(tmp_path.iterdir()) == []


def test_doctor_finds_that_a_store_cannot_be_reached() -> None:
    found = json.loads(groundswell("doctor", "--json", "--store", "ftp://nowhere/at/all").stdout)

    store = next(item for item in found["checks"] if item["check"] == "store")
    assert not store["ok"] and "protocol 'ftp'" in store["found"] and store["fix"]


def test_schemas_are_listed_as_text_and_as_json() -> None:
    assert json.loads(groundswell("schema", "--json").stdout) == groundswell("schema").stdout.split()


def test_the_address_in_the_job_is_the_cluster_that_is_used(tmp_path: Path, project_root: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"not read")
    (tmp_path / "model.onnx").write_bytes(b"not read")
    job = "input: {urls: [a.tar]}\nteacher: {kind: detector, model: model.onnx}\noutput: {url: out}\n"
    (tmp_path / "job.yaml").write_text(job + "run: {address: '127.0.0.1:9'}\n")
    command = [sys.executable, "-m", "pipelines.cli", "label", "job.yaml"]

    answer = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(project_root)},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (answer.returncode, answer.stdout) == (RuntimeEnvironmentError.exit_code, "")
    assert "cannot connect to 127.0.0.1:9" in answer.stderr and "Traceback" not in answer.stderr


def test_progress_shows_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    progress = ProgressPrinter(every_s=0)
    progress("train", 1, 4)
    progress("train", 4, 4)

    lines = capsys.readouterr().err.splitlines()
    assert "1/4" in lines[0] and "left" in lines[0]
    assert "4/4" in lines[1] and "left" not in lines[1]


def test_seconds_are_read_as_a_clock() -> None:
    assert (format_clock(5), format_clock(72.4), format_clock(3600)) == ("0:05", "1:12", "60:00")


def test_a_tables_numbers_stand_to_the_right() -> None:
    assert format_table([["a", 5], ["bb", 12]], ["name", "n"]).splitlines()[2:] == ["a      5", "bb    12"]


def test_each_kind_of_error_has_its_own_exit_code() -> None:
    assert (
        len({NotFoundError.exit_code, ConflictError.exit_code, RuntimeEnvironmentError.exit_code, 1, 2, 3})
        == 6
    )


def test_libraries_keep_their_progress_bars_out_of_ours() -> None:
    """In a process of its own: `main` watches for signals until its process has ended."""
    code = (
        "import os, sys\n"
        "from pipelines.cli import main\n"
        "sys.argv = ['groundswell', 'schema']\n"
        "try:\n    main()\n"
        "except SystemExit:\n    print('bars:', os.environ['HF_HUB_DISABLE_PROGRESS_BARS'])\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "HF_HUB_DISABLE_PROGRESS_BARS"}

    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)

    assert done.stdout.splitlines()[-1] == "bars: 1", done.stderr


def test_examples_on_the_demos_files_name_files_that_the_demo_makes() -> None:
    runner, places = CliRunner(), DemoLayout(Path(".demo"))
    told = " ".join(
        word
        for verb in (["evaluate"], ["model", "info"])
        for word in runner.invoke(build_app(), [*verb, "--help"]).output.split()
    )

    for path in (places.model("student"), places.model("teacher"), places.world.test_coco):
        assert f" {path} " in f"{told} "


@pytest.fixture
def labeled(tmp_path: Path) -> Path:
    shard = write_shard(tmp_path / "a.tar", plain_captions(4))
    label(job_of(tmp_path, [shard]), factories=FACTORIES)
    return tmp_path


def test_verify_deep_reads_the_shards_again_where_they_lie_now(labeled: Path) -> None:
    out = str(labeled / "out")
    assert "every sample equals" in groundswell("verify", out, "--deep").stdout
    (labeled / "moved").mkdir()
    (labeled / "a.tar").rename(labeled / "moved" / "a.tar")

    assert groundswell("verify", out, "--deep").exit_code == ConflictError.exit_code
    assert groundswell("verify", out, "--deep", "--root", f"{labeled}/={labeled}/moved/").exit_code == 0
    assert groundswell("verify", out).exit_code == 0


@pytest.mark.parametrize("words", [["--root", "a=b"], ["--deep", "--root", "a"]])
def test_a_root_without_its_other_half_is_a_usage_error(labeled: Path, words: list[str]) -> None:
    assert groundswell("verify", str(labeled / "out"), *words).exit_code == 2
