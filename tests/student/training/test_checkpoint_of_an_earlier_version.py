"""A checkpoint that commit 47d028d wrote resumes to the weights of that commit's own uninterrupted training.

The fixture has the data, the start, the folder of a training that was stopped after three of six steps, and the weights
of a whole training. `make.py` next to them made all of it.
"""

from __future__ import annotations

import json
import platform
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from schemas.digests import sha256_hex
from schemas.errors import ConflictError
from student.settings.train import TrainSettings
from student.training.checkpoints import latest_checkpoint
from student.training.metrics_log import LINES
from student.training.train import train

FIXTURE = Path(__file__).parents[2] / "fixtures" / "checkpoint_47d028d"
FACTS = json.loads((FIXTURE / "expected.json").read_text())
# Largest difference of a weight on another CPU or another torch, where sums are rounded in another order.
TOLERANCE = 1e-3


def machine() -> dict[str, str]:
    """Return what the bits of a result depend on besides the code, in the form of the fixture."""
    model = next(
        (line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), ""
    )
    return {
        "cpu": model.partition(":")[2].strip(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        "torch": torch.__version__,
    }


def settings(out: Path, **changes: str) -> TrainSettings:
    """Return the settings of the fixture's training, which name no setting that was added since."""
    roots = {"/checkpoint_47d028d/images.bin": str(FIXTURE / "images.bin")}
    streams = [{"url": str(FIXTURE / name), "roots": roots, **FACTS[name]} for name in ("gold", "view")]
    values = {
        **FACTS["settings"],
        "start": str(FIXTURE / "start"),
        "out": str(out),
        "streams": streams,
        **changes,
    }
    return TrainSettings.model_validate(values)


def losses(path: Path) -> list[dict[str, float]]:
    """Return the lines of a log without its clocks."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        {name: value for name, value in line.items() if name not in ("images_per_s", "data_wait_share")}
        for line in lines
    ]


def check(out: Path, report: dict[str, Any]) -> None:
    """Compare weights and losses with those of the earlier code: exactly on its machine, else within a tolerance."""
    assert report["run_digest"] == FACTS["run_digest"]
    weights = load_file(out / "model" / "model.safetensors")
    expected = load_file(FIXTURE / "expected.safetensors")
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        assert float((weights[name] - value).abs().max()) <= TOLERANCE, name
    for own, whole in zip(losses(out / LINES), losses(FIXTURE / "expected_metrics.jsonl"), strict=True):
        assert own == pytest.approx(whole, rel=1e-2, abs=1e-3)
    if machine() == FACTS["machine"]:
        assert report["model_sha256"] == FACTS["model_sha256"]
        assert losses(out / LINES) == losses(FIXTURE / "expected_metrics.jsonl")


def test_a_checkpoint_of_an_earlier_version_resumes_to_the_same_weights(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "run"
    shutil.copytree(FIXTURE / "run", out)
    checkpoint = latest_checkpoint(out / "checkpoints", FACTS["run_digest"])
    assert checkpoint is not None and checkpoint[1] == 3

    steps: list[int] = []
    report = train(settings(out), lambda label, done, total: steps.append(done))

    assert steps == [4, 5, 6], "the first three steps are not repeated"
    check(out, report)
    assert "negatives: words, as the run in" in caplog.text
    assert train(settings(out))["run_digest"] == FACTS["run_digest"], "the finished run is found as well"


def test_a_checkpoint_of_an_earlier_version_is_refused_under_the_rule_of_today(tmp_path: Path) -> None:
    shutil.copytree(FIXTURE / "run", tmp_path / "run")

    with pytest.raises(ConflictError, match="belongs to the run"):
        train(settings(tmp_path / "run", negatives="concepts"))


def test_a_new_training_compares_concepts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    report = train(settings(tmp_path))

    assert report["run_digest"] != FACTS["run_digest"] and "negatives" not in caplog.text
    stored = json.loads((tmp_path / "settings.json").read_text())["settings"]
    assert TrainSettings.from_record(stored).negatives == "concepts"
    assert train(settings(tmp_path)) == report == train(settings(tmp_path, negatives="concepts"))


def test_a_training_gives_the_weights_of_an_earlier_version(tmp_path: Path) -> None:
    check(tmp_path, train(settings(tmp_path, negatives="words")))


def test_the_start_alone_does_not_pass_for_the_trained_weights() -> None:
    """The guard of the test above: without the training, the weights differ by far more than the tolerance."""
    expected = load_file(FIXTURE / "expected.safetensors")
    start = load_file(FIXTURE / "start" / "model.safetensors")

    assert sha256_hex((FIXTURE / "expected.safetensors").read_bytes()) == FACTS["model_sha256"]
    assert max(float((start[name] - expected[name]).abs().max()) for name in expected) > 5 * TOLERANCE
