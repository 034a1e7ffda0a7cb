"""Rounds that begin with a teacher of another kind than GLIP go on with their student, and can be killed anywhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.views import open_view
from pipelines.demo.world.build import World
from pipelines.rounds.run import RoundsReport, run_rounds
from pipelines.rounds.settings import RoundsConfig
from student.evaluate.run import evaluate
from teacher.factories import labeler_digest
from teacher.labelers.glip_settings import model_files
from teacher.registry import parse_teacher
from tests.mutations import Mutation
from tests.rounds.graphs import list_ancestors
from tests.teacher.huggingface.tiny_models import save_grounding_dino
from tests.teacher.huggingface.tiny_owl import save_owl
from tests.teacher.vlm.chat_server import MODEL, ChatServer

Build = Callable[..., RoundsConfig]
POLICY = {"min_score": 0.0, "nms_iou": 0.5, "max_regions_per_phrase": 1}
FIRST_POLICY = {**POLICY, "max_regions_per_phrase": 2, "ignore_score": None}
MUTATIONS = (
    Mutation(
        "pipelines/rounds/settings.py",
        "self.first_policy if number == 1 and self.first_policy is not None else self.policy",
        "self.first_policy if self.first_policy is not None else self.policy",
        "test_two_rounds_begin_with_owlv2",
    ),
    Mutation(
        "pipelines/rounds/run.py",
        '{"first_policy": 1, "policy": 2}',
        "{}",
        "test_two_rounds_begin_with_owlv2",
    ),
    Mutation(
        "pipelines/rounds/run.py",
        "        teacher = GlipSettings(model=str(one.promoted))\n",
        "",
        "test_two_rounds_begin_with_owlv2",
    ),
)
STOPPED_AFTER_COMPILE = {"boxes_per_image": 0.01}
CHILD = """
import os, signal, sys
from pathlib import Path
from pipelines.rounds.run import run_rounds
from pipelines.rounds.settings import RoundsConfig

def kill(place):
    if place == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

config = RoundsConfig.model_validate_json(Path(sys.argv[1]).read_text())
run_rounds(
    config, progress=lambda name, done, total: kill(f"{name} {done}"), say=lambda line: kill(line.split("] ")[1])
)
"""


class WholeImage:
    """A teacher of the user: every phrase is the whole image."""

    digest = "whole image, version 1"

    def __init__(self, model: str, **options: Any) -> None:
        self.score = options["score"]

    def find(self, image_rgb_u8: Any, phrases: list[str]) -> Iterator[tuple[int, tuple[int, ...], float]]:
        height, width = image_rgb_u8.shape[:2]
        for number in range(len(phrases)):
            yield number, (0, 0, width, height), self.score


@pytest.fixture(scope="session")
def owl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_owl(tmp_path_factory.mktemp("owl") / "owlv2", version=2)


@pytest.fixture
def begin_with(rounds_config: Build, little_world: World) -> Build:
    """Return a function that configures rounds with a first teacher, whose students start from a GLIP directory."""
    start = str(little_world.folder.parent / "teacher")

    def build(teacher: dict[str, Any], **changes: Any) -> RoundsConfig:
        values = {"begin": "teacher_start", "policy": POLICY, **changes}
        return rounds_config(teacher={**teacher, "start": start}, **values)

    return build


def run(config: RoundsConfig, said: list[str] | None = None) -> RoundsReport:
    return run_rounds(config, progress=lambda *step: None, say=(said if said is not None else []).append)


def read_view(config: RoundsConfig, number: int) -> dict[str, Any]:
    """Return what a round's view was made from."""
    return open_view(f"{config.out}/round-{number}/view").manifest.provenance


def read_job(config: RoundsConfig, number: int) -> dict[str, Any]:
    """Return the job of a round, as its evidence records it."""
    (record,) = (Path(config.out) / f"round-{number}/evidence/jobs").iterdir()
    return json.loads(record.read_text())["job"]


def read_results(path: Path) -> list[tuple[int, float]]:
    """Return category and score of each detection in a file."""
    return [(row["category_id"], row["score"]) for row in json.loads(path.read_text())]


def test_two_rounds_begin_with_owlv2_and_the_second_labels_with_the_student(
    begin_with: Build, owl: Path
) -> None:
    teacher = {"model": str(owl), "device": "cpu"}
    config = begin_with(teacher, rounds=2, first_policy=FIRST_POLICY)

    report = run(config)

    assert (report.finished, report.stops) == (2, ())
    jobs = [read_job(config, number)["teacher"] for number in (1, 2)]
    assert [job["kind"] for job in jobs] == ["owlv2", "glip"] and jobs[0]["device"] == "cpu"
    student = Path(config.out) / "round-1/student/model"
    assert jobs[1]["model"] == str(student)
    views = [read_view(config, number) for number in (1, 2)]
    assert views[0]["score_kind"].startswith("owlv2") and not views[1]["score_kind"].startswith("owlv2")
    assert [view["policy"]["max_regions_per_phrase"] for view in views] == [2, 1]

    nodes = {node.name: node.id for node in report.lineage.nodes}
    assert nodes["first teacher"] == labeler_digest({"kind": "owlv2", **teacher})
    start = "sha256:" + model_files(Path(str(config.teacher.start)))["model.safetensors"]
    assert nodes["start"] == start
    made_from = list_ancestors(report.lineage, nodes["student 2"])
    assert {
        nodes[name] for name in ("first teacher", "start", "first policy", "policy", "student 1")
    } <= made_from
    assert nodes["policy"] not in list_ancestors(report.lineage, nodes["student 1"])

    (suite,) = config.evaluate
    alone = evaluate(owl, suite.gold, suite.images, group_by=suite.group_by, bootstrap=0)
    measured = [found["evaluate"]["suites"]["held_out"]["teacher"] for found in report.rounds]
    assert measured[0]["AP"] == alone["AP"] and measured[0]["detections"] == alone["detections"] > 0
    assert (
        measured[1]["detections"]
        == report.rounds[0]["evaluate"]["suites"]["held_out"]["student"]["detections"]
    )

    omitted = {name: value for name, value in FIRST_POLICY.items() if name != "ignore_score"}
    said: list[str] = []
    again = run(begin_with(teacher, rounds=2, first_policy=omitted), said)
    assert again.data() == report.data()
    assert said[0].startswith("ignore_score: null, as the view at")
    assert len(said) == 11 and all("already done" in line for line in said[1:])


@pytest.mark.slow
def test_rounds_that_are_killed_three_times_give_the_same_students(
    begin_with: Build, owl: Path, tmp_path: Path, project_root: Path
) -> None:
    teacher = {"model": str(owl), "device": "cpu"}
    whole = run(begin_with(teacher, rounds=2, first_policy=FIRST_POLICY, out=str(tmp_path / "whole")))
    config = begin_with(teacher, rounds=2, first_policy=FIRST_POLICY, out=str(tmp_path / "cut"))
    (tmp_path / "rounds.json").write_text(config.model_dump_json(exclude_unset=True))
    for place in ("train 1", "round 2: label with the teacher", "round 2: compile the view"):
        child = subprocess.run(
            [sys.executable, "-c", CHILD, str(tmp_path / "rounds.json"), place],
            env={**os.environ, "PYTHONPATH": str(project_root)},
            capture_output=True,
            text=True,
        )
        assert child.returncode == -signal.SIGKILL, child.stderr
    said: list[str] = []

    cut = run(config, said)

    assert all("already done" in line for line in said[:6]) and cut.finished == 2
    students = [[found["promote"]["files"] for found in report.rounds] for report in (whole, cut)]
    assert students[0] == students[1]


@pytest.mark.slow
def test_grounding_dino_labels_with_its_settings_and_the_floor_of_its_kind(
    begin_with: Build, tmp_path: Path
) -> None:
    folder = save_grounding_dino(tmp_path / "dino")
    label = begin_with({"model": "x"}).label.model_dump(mode="json", exclude_unset=True)
    label["evidence"].pop("min_score")
    policy = {**POLICY, "min_score": 0.2}
    config = begin_with({"model": str(folder), "precision": "bf16"}, label=label, policy=policy)

    report = run(config)

    assert report.finished == 1
    job = read_job(config, 1)
    assert job["teacher"]["precision"] == "bf16" and job["evidence"]["min_score"] == 0.1
    assert read_view(config, 1)["score_kind"] == "grounding_dino.token_score"
    (suite,) = config.evaluate
    found = [read_results(Path(config.out) / "round-1/evaluations/held_out-teacher.json")]
    for precision in ("bf16", "fp32"):
        settings = parse_teacher({"kind": "grounding-dino", "model": str(folder), "precision": precision})
        evaluate(settings, suite.gold, suite.images, bootstrap=0, results_to=tmp_path / precision)
        found.append(read_results(tmp_path / precision))
    assert found[0] == found[1] != found[2]


@pytest.mark.slow
def test_an_endpoint_without_scores_teaches_round_1_by_a_policy_of_its_own(begin_with: Build) -> None:
    server = ChatServer()
    teacher = {"kind": "vlm", "model": MODEL, "base_url": server.url, "revision": "1", "style": "json"}
    try:
        config = begin_with(teacher, rounds=2, first_policy={})
        report = run(config)
        asked = len(server.received)
        moved = run(begin_with({**teacher, "base_url": "http://127.0.0.1:9/v1"}, rounds=2, first_policy={}))
    finally:
        server.close()

    assert report.finished == 2 and asked > 0 and len(server.received) == asked
    assert read_view(config, 1)["score_kind"] == "none" != read_view(config, 2)["score_kind"]
    nodes = {node.name: node.id for node in report.lineage.nodes}
    assert nodes["first teacher"] == labeler_digest(teacher) and moved.data() == report.data()


@pytest.mark.slow
def test_a_class_of_the_user_teaches_and_another_digest_labels_again(
    begin_with: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = f"{__name__}:WholeImage"
    said: list[str] = []
    for options in ({"score": 0.9}, {"score": 0.9}, {"score": 0.8}):
        config = begin_with({"kind": kind, "options": options}, brakes=STOPPED_AFTER_COMPILE)
        found = run(config, said)
        assert [stop.brake for stop in found.stops] == ["boxes_per_image"]

    labeled = [line for line in said if "label with the teacher" in line]
    assert ["already done" in line for line in labeled] == [False, True, False]
    assert read_view(config, 1)["score_kind"] == "WholeImage.score"
