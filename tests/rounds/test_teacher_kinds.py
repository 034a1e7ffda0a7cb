"""The first teacher of rounds is checked before any work, and GLIP teachers keep what they have always meant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipelines.config import load_settings
from pipelines.demo.world.build import World
from pipelines.label.job import JobConfig
from pipelines.rounds.input_digests import digest_compile_inputs
from pipelines.rounds.preflight import identify_teacher, resolve_teacher
from pipelines.rounds.run import RoundsReport, run_rounds
from pipelines.rounds.settings import RoundsConfig
from schemas.digests import digest_of
from schemas.errors import ConfigError, NotFoundError
from student.evaluate.run import evaluate
from teacher.labelers.glip_settings import model_files
from teacher.registry import parse_teacher
from tests.mutations import Mutation
from tests.rounds.test_first_teacher import WholeImage, owl  # noqa: F401 - a fixture
from tests.teacher.hub_server import serve_hub
from tests.teacher.tiny_onnx import ANCHORS, write_yolox

Build = Callable[..., RoundsConfig]
VLM = {"kind": "vlm", "model": "m", "base_url": "http://127.0.0.1:9/v1", "revision": "1", "style": "json"}
OWN_CLASS = {"kind": f"{WholeImage.__module__}:WholeImage", "options": {"score": 0.5}}
NAME, COMMIT = "owner/tiny-owl", "0123456789abcdef0123456789abcdef01234567"
HUB_PROGRAM = """
import sys
from pathlib import Path
from pipelines.rounds.preflight import identify_teacher, resolve_teacher
from pipelines.rounds.settings import RoundsConfig
config = RoundsConfig.model_validate_json(Path(sys.argv[1]).read_text())
teacher = resolve_teacher(config.teacher)
print(teacher.kind, teacher.model, identify_teacher(config, teacher).digest)
"""
_PREFLIGHT = "pipelines/rounds/preflight.py"
MUTATIONS = (
    Mutation(
        _PREFLIGHT,
        "    if config.average and teacher.kind != _GLIP:",
        "    if False:",
        "test_what_a_teacher_of",
    ),
    Mutation(_PREFLIGHT, "    elif teacher.kind != _GLIP:", "    elif False:", "test_what_a_teacher_of"),
    Mutation(_PREFLIGHT, "            policy.check_evidence(evidence)\n", "", "test_what_a_teacher_of"),
    Mutation(
        _PREFLIGHT, "if not TEACHERS.load(_GLIP).recognizes(start):", "if False:", "test_what_a_teacher_of"
    ),
    Mutation(_PREFLIGHT, "        _check_classes(config, teacher)\n", "        pass\n", "test_a_detector"),
    Mutation(
        _PREFLIGHT,
        '{"teacher": files} if has_defaults else {"teacher": files, "digest": digest}',
        '{"teacher": files, "digest": digest}',
        "test_an_old_file_keeps_its_keys",
    ),
    Mutation(
        _PREFLIGHT, " if has_defaults else", " if True else", "test_settings_of_glip_that_change_labels"
    ),
)


def run(config: RoundsConfig) -> RoundsReport:
    return run_rounds(config, progress=lambda *step: None, say=lambda line: None)


def glip_of(world: World) -> str:
    return str(world.folder.parent / "teacher")


def write_detector(folder: Path, classes: int = 3) -> Path:
    """Write a detector of which every anchor is a box of the second class."""
    answer = np.zeros((ANCHORS, 5 + classes), np.float32)
    answer[:, 4] = answer[:, 6] = 0.9
    return write_yolox(folder / "d.onnx", answer)


@pytest.mark.parametrize(
    ("changes", "problem", "says"),
    [
        ({"begin": "teacher"}, ConfigError, "begin is 'teacher', but .* of kind 'owlv2' .* set `begin: teacher_start`"),
        ({"average": 0.3}, ConfigError, "average is 0.3, but .* of kind 'owlv2' .* set average: 0"),
        ({"start": "OWL"}, ConfigError, "teacher.start .* is not a GLIP directory"),
        ({"start": "/nowhere"}, NotFoundError, "teacher.start '/nowhere' is not a model directory"),
        ({"model": "/nowhere"}, NotFoundError, "teacher.model '/nowhere' does not exist; give the path"),
        ({"model": f"{NAME}@main"}, ConfigError, "'main' is not a commit"),
        ({"pol": "mean"}, ConfigError, "pol: unknown field"),
        (
            {"first_policy": {"min_score": 0.1, "candidate_score": 0.05}},
            ConfigError,
            "first_policy, in round 1 with a teacher of kind 'owlv2': .*candidate_score 0.05.*min_score 0.2",
        ),
        (
            {"rounds": 2, "first_policy": {}, "policy": {"min_score": 0.1, "candidate_score": 0.05}},
            ConfigError,
            "policy, in round 2 with a teacher of kind 'glip': .*candidate_score 0.05",
        ),
    ],
)  # fmt: skip
def test_what_a_teacher_of_another_kind_cannot_do_is_refused_before_any_work(
    rounds_config: Build,
    little_world: World,
    owl: Path,  # noqa: F811 - the fixture
    changes: dict[str, Any],
    problem: type[Exception],
    says: str,
) -> None:
    teacher = {"model": str(owl), "start": glip_of(little_world)}
    fields = {name: changes[name] for name in ("start", "model", "pol") if name in changes}
    teacher |= {name: str(owl) if value == "OWL" else value for name, value in fields.items()}
    rest = {name: value for name, value in changes.items() if name not in fields}
    label = rounds_config().label.model_dump(mode="json", exclude_unset=True)
    label["evidence"] = {"min_score": 0.2}
    config = rounds_config(
        **{"teacher": teacher, "begin": "teacher_start", "label": label, "policy": {}, **rest}
    )

    with pytest.raises(problem, match=says):
        run(config)

    assert not Path(config.out).exists()


def test_a_policy_on_scores_is_refused_before_an_endpoint_is_asked(
    rounds_config: Build, little_world: World
) -> None:
    teacher = {**VLM, "start": glip_of(little_world)}
    config = rounds_config(teacher=teacher, begin="teacher_start", policy={"min_score": 0.4})

    with pytest.raises(ConfigError, match="policy, in round 1 .* no scores .*min_score 0.4.* first_policy"):
        run(config)

    assert not Path(config.out).exists()


def test_a_detector_must_have_a_class_of_every_suite_and_takes_no_guard_on_phrases(
    rounds_config: Build, little_world: World, tmp_path: Path
) -> None:
    teacher = {"model": str(write_detector(tmp_path)), "start": glip_of(little_world)}
    config = {"teacher": {**teacher, "classes": ["x", "y", "z"]}, "begin": "teacher_start"}
    with pytest.raises(ConfigError, match="suite held_out: .*none of its 3 classes .*by teacher.classes"):
        run(rounds_config(**config))

    guards = [{"suite": "held_out", "name": "R@1"}]
    with pytest.raises(ConfigError, match="guard held_out/R@1: .* kind 'detector', which finds classes"):
        run(rounds_config(**config, guards=guards))

    config["teacher"] = {**teacher, "classes": ["x", "y"]}
    with pytest.raises(
        ConfigError, match="3 classes, but 2 names in teacher.classes .*correct teacher.classes"
    ):
        run(rounds_config(**config))


def test_a_detector_is_evaluated_with_the_class_names_of_its_settings(
    little_world: World, tmp_path: Path
) -> None:
    test = little_world.test_coco
    nouns = [category["name"] for category in json.loads(test.read_text())["categories"]]
    model = write_detector(tmp_path)
    settings = parse_teacher({"kind": "detector", "model": str(model), "classes": ["x", nouns[4], "y"]})

    report = evaluate(settings, test, test.parent / "images", bootstrap=0)

    assert report["classes"]["names"] == "teacher.classes" and report["detections"] > 0


def test_a_class_of_the_user_is_evaluated_with_its_options(little_world: World) -> None:
    test = little_world.test_coco

    report = evaluate(parse_teacher(OWN_CLASS), test, test.parent / "images", bootstrap=0)

    categories = len(json.loads(test.read_text())["categories"])
    assert report["detections"] == min(categories, 100) * report["images"]["evaluated"]


def test_mistakes_in_the_section_are_reported_at_their_place(tmp_path: Path, rounds_config: Build) -> None:
    values = rounds_config().model_dump(mode="json", exclude_unset=True)
    path = tmp_path / "rounds.yaml"
    for teacher, says in (
        ({"kind": "owlv9", "model": "m"}, "teacher.kind: .*'owlv9'.* is unknown; expected one of"),
        ({"kind": "owlv2", "model": "m", "pool": "mean"}, "teacher.pool: unknown field"),
        ({"kind": "owlv2"}, "teacher.model: this field is missing"),
        ({"start": "m"}, "teacher.model is missing; give the path of a model, or name teacher.kind"),
    ):
        path.write_text(json.dumps({**values, "teacher": teacher}))
        with pytest.raises(ConfigError, match=says):
            load_settings(path, RoundsConfig)
    with pytest.raises(ValidationError):
        rounds_config(teacher=None)


def test_a_kind_is_recognized_or_named(
    rounds_config: Build,
    little_world: World,
    owl: Path,  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    (tmp_path / "endpoint.yaml").write_text(json.dumps(VLM))
    for teacher, kind in (
        ({"model": glip_of(little_world)}, "glip"),
        ({"model": str(owl)}, "owlv2"),
        ({"model": str(write_detector(tmp_path))}, "detector"),
        ({"model": str(tmp_path / "endpoint.yaml")}, "vlm"),
        ({**VLM, "start": "s"}, "vlm"),
        (OWN_CLASS, OWN_CLASS["kind"]),
    ):
        assert resolve_teacher(rounds_config(teacher=teacher).teacher).kind == kind


def test_a_job_without_a_floor_takes_that_of_the_kind_in_each_round(rounds_config: Build) -> None:
    label = rounds_config().label.model_dump(mode="json", exclude_unset=True)
    label["evidence"] = {"max_regions_per_phrase": 3}
    section = rounds_config(label=label).label
    teachers = [parse_teacher({"kind": kind, "model": "m"}) for kind in ("grounding-dino", "owlv2", "glip")]

    evidence = [section.job(teacher, "out").evidence for teacher in teachers]

    assert [one.min_score for one in evidence] == [0.1, 0.05, 0.05]
    assert {one.max_regions_per_phrase for one in evidence} == {3}


def test_an_old_file_keeps_its_keys_its_job_and_its_place_in_the_lineage(
    rounds_config: Build, little_world: World
) -> None:
    config = rounds_config(brakes={"boxes_per_image": 0.01})
    model = glip_of(little_world)
    files = model_files(Path(model))

    report = run(config)

    steps = {
        name: json.loads((Path(config.out) / f"steps/round-1-{name}.json").read_text())
        for name in ("label", "compile")
    }
    parts = config.label.model_dump(mode="json", exclude={"run", "decoys"})
    key = digest_of([digest_of({"teacher": files}), "round-1-label", parts])
    assert steps["label"]["key"] == key
    policy = {"policy": config.policy.identity(), "gold": digest_compile_inputs(config, config.policy)}
    key = digest_of([digest_of([key, steps["label"]["result"]]), "round-1-compile", policy])
    assert steps["compile"]["key"] == key
    (record,) = (Path(config.out) / "round-1/evidence/jobs").iterdir()
    label = config.label.model_dump(mode="json", exclude_unset=True)
    sections = {"teacher": {"kind": "glip", "model": model}, "output": {"url": "elsewhere"}}
    job = JobConfig.model_validate({**label, **sections})
    assert json.loads(record.read_text())["digest"] == job.digest()
    assert {node.name: node.id for node in report.lineage.nodes}["first teacher"] == (
        "sha256:" + files["model.safetensors"]
    )


def test_settings_of_glip_that_change_labels_are_part_of_the_key(
    rounds_config: Build, little_world: World
) -> None:
    def key(**settings: object) -> dict[str, object]:
        config = rounds_config(teacher={"model": glip_of(little_world), **settings})
        return identify_teacher(config, resolve_teacher(config.teacher)).key

    assert (
        key()
        == key(kind="glip")
        == key(device="cpu")
        == {"teacher": model_files(Path(glip_of(little_world)))}
    )
    assert key(prompt="phrases") != key()


@pytest.mark.slow
def test_a_model_of_the_hub_is_recognized_and_has_the_digest_of_its_files(
    rounds_config: Build,
    little_world: World,
    owl: Path,  # noqa: F811 - the fixture
    tmp_path: Path,
    project_root: Path,
) -> None:
    teacher = {"model": f"{NAME}@{COMMIT}", "start": glip_of(little_world)}
    config = rounds_config(teacher=teacher, begin="teacher_start")
    (tmp_path / "rounds.json").write_text(config.model_dump_json(exclude_unset=True))
    local = rounds_config(teacher={**teacher, "model": str(owl)}, begin="teacher_start")
    with serve_hub(NAME, COMMIT, owl) as endpoint:
        own = {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "HF_HUB_CACHE": str(tmp_path / "cache")}
        answer = subprocess.run(
            [sys.executable, "-c", HUB_PROGRAM, str(tmp_path / "rounds.json")],
            env={**os.environ, "HF_HUB_DISABLE_TELEMETRY": "1", **own},
            cwd=project_root,
            capture_output=True,
            text=True,
        )

    assert answer.returncode == 0, answer.stderr
    digest = identify_teacher(local, resolve_teacher(local.teacher)).digest
    assert answer.stdout.split() == ["owlv2", teacher["model"], digest]
