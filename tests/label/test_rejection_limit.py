"""A labeling run that rejected most of its samples is not a success, and reports why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from pipelines.cli import build_app
from pipelines.demo.initial_model import write_start
from pipelines.demo.world.settings import WorldSettings
from pipelines.label.run import label
from schemas.errors import UnfinishedError
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import job_of, plain_captions, sample_members, tar_bytes

Members = list[tuple[str, bytes]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_start(tmp_path_factory.mktemp("teacher") / "model", WorldSettings())


@pytest.fixture
def job(model: Path, tmp_path: Path) -> Callable[[Members], Path]:
    """Write a shard and a job that reads it; return the job's path."""

    def write(members: Members) -> Path:
        (tmp_path / "a.tar").write_bytes(tar_bytes(members))
        path = tmp_path / "job.yaml"
        path.write_text(
            f"input: {{urls: ['{tmp_path}/a.tar']}}\nphrases: {{pipeline: lexicon}}\n"
            f"teacher: {{kind: glip, model: '{model}'}}\noutput: {{url: '{tmp_path}/out'}}\n"
            "run: {executor: local, batch_size: 1}\n"
        )
        return path

    return write


def without_image(count: int, first: int = 0) -> Members:
    return [(f"{index:05d}.txt", b"a red square") for index in range(first, first + count)]


def with_image(count: int) -> Members:
    samples = (sample_members(f"{n:05d}", caption) for n, caption in enumerate(plain_captions(count)))
    return [member for sample in samples for member in sample]


def groundswell(*words: object) -> Result:
    return CliRunner().invoke(build_app(), [str(word) for word in words])


def test_label_and_all_that_looks_at_its_output_exit_3_when_every_sample_was_rejected(
    job: Callable[[Members], Path], tmp_path: Path
) -> None:
    path = job(without_image(3))
    out, policy = tmp_path / "out", tmp_path / "policy.yaml"
    policy.write_text("{}\n")

    first, again = groundswell("label", path), groundswell("label", path, "--json")
    looks = [groundswell(*words) for words in (("status", out), ("status", out, "--watch"), ("retry", out))]
    trial = groundswell("label", path, "--limit", 2)
    view = groundswell("compile", out, policy, "--to", tmp_path / "view")

    assert [look.exit_code for look in (first, again, *looks, trial, view)] == [3] * 7
    assert json.loads(again.stdout)["samples"]["rejected"] == {"IMG_MISSING": 3}
    for look in (first, again, *looks):
        assert "3 of 3 samples were rejected" in look.stderr
        assert "IMG_MISSING 3: no image member" in look.stderr
    assert "2 of 2 samples were rejected" in trial.stderr
    assert "0 labeled" in view.stderr and "IMG_MISSING 3: no image member" in view.stderr
    assert not (tmp_path / "view").exists()


def test_a_raised_limit_passes_in_label_and_in_status_after_it(
    job: Callable[[Members], Path], tmp_path: Path
) -> None:
    path = job(without_image(2))
    assert groundswell("label", path).exit_code == 3

    raised = groundswell("label", path, "--set", "run.max_rejected=1")

    assert raised.exit_code == 0, raised.stderr
    assert "rejected 2 of 2 samples (100.0 %): IMG_MISSING 2" in raised.stderr
    assert groundswell("status", tmp_path / "out").exit_code == 0


def test_half_of_a_few_samples_may_be_rejected_and_one_line_reports_it(
    job: Callable[[Members], Path], tmp_path: Path
) -> None:
    path = job(with_image(1) + without_image(3, first=1))

    result = groundswell("label", path)

    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("rejected 3 of 4 samples (75.0 %): IMG_MISSING 3") == 1


@pytest.mark.parametrize(("good", "rejected", "code"), [(49, 51, 3), (50, 50, 0), (48, 51, 0)])
def test_from_100_counted_samples_on_the_share_decides(
    good: int, rejected: int, code: int, tmp_path: Path
) -> None:
    (tmp_path / "a.tar").write_bytes(
        tar_bytes(with_image(good + 9) + without_image(rejected, first=good + 9))
    )
    chosen = [f"{index:05d}" for index in range(good + 9 + rejected) if index >= 9]
    (tmp_path / "keys.txt").write_text("\n".join(chosen))
    label(
        job_of(tmp_path, [tmp_path / "a.tar"], input={"only": str(tmp_path / "keys.txt")}),
        factories=FACTORIES,
    )

    looked = groundswell("status", tmp_path / "out", "--json")

    assert looked.exit_code == code, looked.stderr
    assert json.loads(looked.stdout)["samples"]["rejected"] == {"IMG_MISSING": rejected, "NOT_SELECTED": 9}


@pytest.mark.parametrize("only", [None, "nobody"])
def test_a_job_without_a_sample_or_without_a_selected_one_is_not_a_success(
    job: Callable[[Members], Path], tmp_path: Path, only: str | None
) -> None:
    path = job([] if only is None else with_image(2))
    chosen = []
    if only is not None:
        (tmp_path / "keys.txt").write_text(f"{only}\n")
        chosen = ["--set", f"input.only={tmp_path}/keys.txt"]

    result = groundswell("label", path, *chosen)

    assert result.exit_code == UnfinishedError.exit_code
    assert ("contain no sample" if only is None else "NOT_SELECTED 2") in result.stderr
