"""Rounds go on with the settings of their first round where the configuration omits a setting that was added since."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.rounds.layout import locate_round
from pipelines.rounds.round import Round
from pipelines.rounds.run import name_inherited_settings
from pipelines.rounds.settings import RoundsConfig
from pipelines.steps.cache import StepCache
from teacher.labelers.glip_settings import GlipSettings

SETTINGS = "settings.json"


def second_round(config: RoundsConfig) -> Round:
    out = config.home()
    cache = StepCache(out, {}, 2, print)
    return Round(
        config, 2, GlipSettings(model=config.teacher.model), locate_round(out, 2), cache, lambda *_: None, []
    )


def write_first_round(config: RoundsConfig, **stored: str) -> Path:
    """Write the settings of round 1's student as an earlier version did, or with the rule that it had."""
    folder = locate_round(config.home(), 1).training("student")
    folder.mkdir(parents=True)
    (folder / SETTINGS).write_text(json.dumps({"run_digest": "sha256:0", "settings": stored}))
    return folder


@pytest.mark.parametrize(
    ("stored", "rule"),
    [({}, "words"), ({"negatives": "words"}, "words"), ({"negatives": "concepts"}, "concepts")],
)
def test_a_later_round_takes_the_rule_of_the_first(
    rounds_config: Callable[..., RoundsConfig], stored: dict[str, str], rule: str
) -> None:
    config = rounds_config()
    write_first_round(config, **stored)
    said: list[str] = []
    name_inherited_settings(config, said.append)

    assert second_round(config).training("student").negatives == rule
    assert second_round(config).training("control").negatives == "concepts", "it has no settings of its own"
    assert [line.partition(",")[0] for line in said] == (
        ['student.negatives: "words"'] if rule == "words" else []
    )


def test_a_rule_in_the_configuration_counts(rounds_config: Callable[..., RoundsConfig]) -> None:
    student: dict[str, Any] = {**rounds_config().student, "negatives": "concepts"}
    config = rounds_config(student=student)
    write_first_round(config)

    assert second_round(config).training("student").negatives == "concepts"


def test_settings_that_cannot_be_read_are_no_settings(rounds_config: Callable[..., RoundsConfig]) -> None:
    config = rounds_config()
    (write_first_round(config) / SETTINGS).write_text("{")

    assert second_round(config).training("student").negatives == "concepts"
