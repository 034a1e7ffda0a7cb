"""The manifests and the image are what the cluster, the lock and the command line expect."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import kubernetes_validate
import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from deploy.manifests import RayJob

KUBERNETES = "1.32"


@pytest.fixture
def documents(project_root: Path) -> list[dict]:
    text = (project_root / "deploy/kuberay/label-rayjob.yaml").read_text(encoding="utf-8")
    return list(YAML(typ="safe", pure=True).load_all(text))


@pytest.fixture
def job(documents: list[dict]) -> RayJob:
    return RayJob.model_validate(next(item for item in documents if item["kind"] == "RayJob"))


def pod_of(template: dict) -> dict:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": template["spec"]}


def test_every_pod_is_valid_for_kubernetes(job: RayJob) -> None:
    groups = [job.spec.rayClusterSpec.headGroupSpec, *job.spec.rayClusterSpec.workerGroupSpecs]

    for group in groups:
        kubernetes_validate.validate(pod_of(group.template), KUBERNETES, strict=True)


def test_a_misspelt_key_of_a_pod_is_found(job: RayJob) -> None:
    template = job.spec.rayClusterSpec.headGroupSpec.template
    template["spec"]["containers"][0]["resource"] = {}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod_of(template), KUBERNETES, strict=True)


def test_a_misspelt_key_of_the_ray_job_is_found(documents: list[dict]) -> None:
    document = next(item for item in documents if item["kind"] == "RayJob")
    document["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["maxReplica"] = 3

    with pytest.raises(ValidationError, match="maxReplica"):
        RayJob.model_validate(document)


def test_the_cluster_runs_the_locked_ray_and_asks_for_a_token(job: RayJob, project_root: Path) -> None:
    locked = re.search(r"^ray==(\S+)", (project_root / "requirements.lock").read_text(), re.M)

    assert locked and job.spec.rayClusterSpec.rayVersion == locked[1] == version("ray")
    assert job.spec.rayClusterSpec.authOptions.mode == "token"


def test_the_entrypoint_is_a_command_that_exists_and_reads_the_mounted_job(job: RayJob) -> None:
    from typer.testing import CliRunner

    from pipelines.cli import build_app

    program, verb, path, *_ = shlex.split(job.spec.entrypoint)

    assert (program, path) == ("groundswell", "/etc/groundswell/job.yaml")
    assert CliRunner().invoke(build_app(), [verb, "--help"]).exit_code == 0


def test_the_mounted_job_is_a_valid_job(documents: list[dict], tmp_path: Path) -> None:
    from pipelines.config import load_settings
    from pipelines.label.job import JobConfig

    text = next(item for item in documents if item["kind"] == "ConfigMap")["data"]["job.yaml"]
    path = tmp_path / "job.yaml"
    path.write_text(text)

    job = load_settings(path, JobConfig)

    assert job.run.actors.max == 16
    assert job.run.placement_timeout_s >= 900, "a node that must be bought first takes longer than a minute"
    assert YAML(typ="safe").load(text)["teacher"]["kind"] == job.teacher.kind == "glip"


def test_the_image_installs_torch_by_itself_and_the_rest_from_the_lock(project_root: Path) -> None:
    text = (project_root / "deploy/Dockerfile").read_text()
    setup = (project_root / "deploy/setup.sh").read_text()

    torch = re.search(r"TORCH_VERSION=(\S+)", text)
    assert torch and f"torch_version={torch[1]}" in setup
    assert "--no-deps --require-hashes -r requirements.lock" in text and "USER 1000" in text
    copied = set(re.findall(r"^COPY (\w+) \./\1$", text, re.M))
    assert copied == {"schemas", "engine", "teacher", "student", "pipelines", "deploy", "groundswell"}


def test_the_images_own_check_passes_with_the_locked_packages(project_root: Path) -> None:
    text = (project_root / "deploy/Dockerfile").read_text()
    (check,) = re.findall(r'python -c "(.*)"', text)

    answer = subprocess.run(
        [sys.executable, "-c", check], cwd=project_root, capture_output=True, text=True, timeout=120
    )

    assert (answer.returncode, answer.stderr) == (0, "")
