"""Rounds refuse what would make their comparison unfair or their files unsafe."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from engine.views import open_view, write_view
from pipelines.demo.world.build import World
from pipelines.rounds.preflight import check_inputs
from pipelines.rounds.settings import RoundsConfig
from schemas.errors import GroundswellError, NotFoundError
from tests.engine.s3_server import s3_bucket

Build = Callable[..., RoundsConfig]


def test_a_control_with_less_compute_is_refused(rounds_config: Build) -> None:
    control = {**rounds_config().control, "steps": 1}
    with pytest.raises(ValidationError, match=r"student and control differ in steps \(2 and 1\)"):
        rounds_config(control=control)


def test_a_student_without_the_view_is_refused(rounds_config: Build) -> None:
    with pytest.raises(ValidationError, match="exactly one stream with url VIEW"):
        rounds_config(student=rounds_config().control)


def test_a_control_with_the_view_is_refused(rounds_config: Build) -> None:
    with pytest.raises(ValidationError, match="none in the control"):
        rounds_config(control=rounds_config().student)


def test_a_training_that_names_its_own_place_is_refused(rounds_config: Build) -> None:
    with pytest.raises(ValidationError, match="student sets out"):
        rounds_config(student={**rounds_config().student, "out": "elsewhere"})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"target": {"suite": "lvis"}}, "suite 'lvis' is unknown"),
        ({"target": {"suite": "held_out", "name": "R@1"}, "brakes": {}}, "no paired interval"),
        ({"begin": "teacher_start"}, "needs teacher.start"),
        ({"out": "s3://bucket/rounds"}, "is a URL"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(
    rounds_config: Build, changes: dict, says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        rounds_config(**changes)


def test_every_suite_is_guarded_where_no_guard_is_named(rounds_config: Build) -> None:
    assert [guard.label() for guard in rounds_config().guards] == ["held_out/AP"]
    assert rounds_config(guards=[]).guards == ()


def test_the_configuration_in_the_documentation_is_a_valid_one(project_root: Path) -> None:
    text = (project_root / "docs/rounds.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    values, other_teacher = (YAML(typ="safe").load(block) for block in blocks)
    config = RoundsConfig.model_validate(values)
    assert config.rounds == 2 and [guard.label() for guard in config.guards] == [
        "held_out/head/AP",
        "held_out/R@1",
    ]
    config = RoundsConfig.model_validate({**values, **other_teacher})
    assert config.teacher.kind == "owlv2" and config.policy_of(1) != config.policy_of(2) == config.policy


@pytest.mark.parametrize(
    "changes", [{"weight_decay": 0.5}, {"ema_decay": 0.9}, {"clip_norm": 3.0}, {"tuning": "linear"}]
)
def test_a_control_that_learns_by_other_rules_is_refused(rounds_config: Build, changes: dict) -> None:
    (name,) = changes
    with pytest.raises(ValidationError, match=f"student and control differ in {name}"):
        rounds_config(control={**rounds_config().control, **changes})


@pytest.mark.parametrize("streams", ["x", None, ["x"], {"url": "x"}])
def test_streams_of_another_form_are_refused(rounds_config: Build, streams: object) -> None:
    with pytest.raises(ValidationError, match="student.streams is .* expected a list of streams"):
        rounds_config(student={**rounds_config().student, "streams": streams})


def test_phrase_lists_of_the_view_are_refused(rounds_config: Build) -> None:
    streams = [
        {**one, "prompts": {}} if one["url"] == "VIEW" else one for one in rounds_config().student["streams"]
    ]
    with pytest.raises(ValidationError, match="VIEW is not gold; set phrase_list: 0 in its prompts"):
        rounds_config(student={**rounds_config().student, "streams": streams})


def test_a_number_that_no_evaluation_has_is_refused(rounds_config: Build) -> None:
    with pytest.raises(ValidationError, match="held_out/APX: 'APX' is unknown; expected one of AP, AP50"):
        rounds_config(target={"suite": "held_out", "name": "APX"})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"gold": "/nowhere"}, "/nowhere has no view.json"),
        ({"target": {"suite": "held_out", "group": "nobody"}}, "has no group 'nobody'; expected one of"),
        (
            {"evaluate": [{"name": "held_out", "gold": "/nowhere.json"}]},
            "no such file; correct the path",
        ),
    ],
)
def test_missing_inputs_are_reported_before_anything_is_labeled(
    rounds_config: Build, changes: dict, says: str
) -> None:
    with pytest.raises(GroundswellError, match=says):
        check_inputs(rounds_config(**changes))


def test_missing_images_and_streams_are_reported_before_anything_is_labeled(
    rounds_config: Build,
) -> None:
    config = rounds_config()
    check_inputs(config)
    suite = {**config.evaluate[0].model_dump(), "images": "/nowhere"}
    with pytest.raises(NotFoundError, match="images /nowhere does not exist"):
        check_inputs(rounds_config(evaluate=[suite]))
    control = {
        **config.control,
        "streams": [{**config.control["streams"][0], "url": "/gone"}, config.control["streams"][1]],
    }
    with pytest.raises(NotFoundError, match="/gone has no view.json"):
        check_inputs(rounds_config(control=control))


@pytest.mark.filterwarnings("ignore")
def test_a_stream_in_a_bucket_is_checked_with_the_streams_own_storage(
    rounds_config: Build, little_world: World
) -> None:
    config = rounds_config()
    gold = list(open_view(little_world.gold_view).rows())
    with s3_bucket() as (url, storage):
        write_view(f"{url}/gold", gold, kind="gold", provenance={}, storage=storage)

        def move(stream: dict) -> dict:
            stored = {"url": f"{url}/gold", "storage": storage.model_dump(exclude_none=True)}
            return {**stream, **stored} if stream["url"] == little_world.gold_view else stream

        trainings = {
            name: {**training, "streams": [move(stream) for stream in training["streams"]]}
            for name, training in (("student", config.student), ("control", config.control))
        }
        check_inputs(rounds_config(**trainings))
