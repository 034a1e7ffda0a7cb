"""The registry of rules: a user's rule works without a change of the tree, and built-in ones keep their place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.compile.policy import Policy
from pipelines.compile.rules import RULES, list_rules
from pipelines.compile.rules_table import rules_table
from schemas.ledger import Snapshot
from tests.plugins import write_plugin

SMALL = '''
from typing import Annotated

from pydantic import Field

from pipelines.compile.rule import RegionRule, drop
from schemas.settings import LegacyValue, CompatibleSettings


class AreaFields(CompatibleSettings):
    """Settings of the rule."""

    min_area_px2: Annotated[float, LegacyValue()] = Field(0, ge=0, description="smaller boxes are dropped")


def drop_small(batch, policy):
    return drop(batch.area_R < policy.min_area_px2)


ENTRY = RegionRule("too_small", "area below min_area_px2", AreaFields, {order}, apply=drop_small, version={version})
'''
UNITS = [[[(0, 0, 0, 50, 50, 0.9), (1, 100, 0, 104, 4, 0.8)]]]


def _install(folder: Path, order: int = 85, version: int = 1, code: str = SMALL) -> None:
    text = code.replace("{order}", str(order)).replace("{version}", str(version))
    write_plugin(folder, "small_boxes", text, group=RULES.group, name="too_small")


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line with the folder on the import path."""
    path = os.pathsep.join([str(folder), *sys.path])
    command = [sys.executable, "-m", "pipelines.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})


def _compile(tmp_path: Path, policy: str, to: str) -> dict[str, Any]:
    (tmp_path / "policy.yaml").write_text(policy)
    evidence, file = str(tmp_path / "evidence"), str(tmp_path / "policy.yaml")
    done = _run(tmp_path / "plugin", "compile", evidence, file, "--to", str(tmp_path / to), "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_a_users_rule_is_a_field_of_the_policy_and_removes_regions(
    tmp_path: Path, write_evidence: Callable[..., Snapshot]
) -> None:
    write_evidence(tmp_path / "evidence", UNITS)
    _install(tmp_path / "plugin")

    schema = json.loads(_run(tmp_path / "plugin", "schema", "policy").stdout)
    unused = _compile(tmp_path, "ignore_score: null\n", "unused")
    used = _compile(tmp_path, "ignore_score: null\nmin_area_px2: 100\n", "used")

    assert schema["properties"]["min_area_px2"]["default"] == 0
    assert unused["policy_digest"] == Policy(ignore_score=None).digest() != used["policy_digest"]
    assert (unused["regions"]["kept"], unused["regions"]["dropped"]) == (2, {})
    assert (used["regions"]["kept"], used["regions"]["dropped"]) == (1, {"too_small": 1})


def test_a_raised_version_of_a_rule_changes_the_digest_of_policies_that_use_it_alone(
    tmp_path: Path, write_evidence: Callable[..., Snapshot]
) -> None:
    write_evidence(tmp_path / "evidence", UNITS)
    digests = []
    for version in (1, 2):
        folder = tmp_path / f"v{version}"
        folder.mkdir()
        (folder / "evidence").symlink_to(tmp_path / "evidence")
        _install(folder / "plugin", version=version)
        policies = {"unused": "one_to_one: false\n", "used": "min_area_px2: 100\n"}
        digests.append([_compile(folder, text, to)["policy_digest"] for to, text in policies.items()])

    assert digests[0][0] == digests[1][0] == Policy().digest()
    assert digests[0][1] != digests[1][1]


@pytest.mark.parametrize(
    ("order", "code", "problem"),
    [
        (80, SMALL, "below_score and too_small both have order 80"),
        (
            85,
            SMALL.replace("Annotated[float, LegacyValue()]", "float"),
            "without a legacy value: ['min_area_px2']",
        ),
        (85, SMALL.replace("min_area_px2", "nms_iou"), "both have a field 'nms_iou'"),
        (85, SMALL.replace('"too_small"', '"tiny"'), "names itself 'tiny'; expected 'too_small'"),
    ],
)
def test_a_rule_that_would_change_other_policies_is_refused_by_name(
    tmp_path: Path, order: int, code: str, problem: str
) -> None:
    _install(tmp_path / "plugin", order, code=code)

    done = _run(tmp_path / "plugin", "schema", "policy")

    assert done.returncode == 2 and problem in done.stderr and "Traceback" not in done.stderr


def test_the_page_of_policies_has_the_table_of_the_rules_entries(project_root: Path) -> None:
    assert rules_table() in (project_root / "docs" / "policy.md").read_text(encoding="utf-8")


def test_the_order_of_the_rules_is_their_number_and_not_their_name() -> None:
    names = [rule.name for rule in list_rules()]

    assert names == sorted(RULES.names(), key=lambda name: RULES.load(name).order) != sorted(names)
