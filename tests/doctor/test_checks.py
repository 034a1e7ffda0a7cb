"""A check has one name, whatever becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.doctor import checks


def test_a_check_that_raises_has_the_name_that_it_gives_its_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [finding.check for finding in checks.run_checks(str(tmp_path))]

    def fail(*_: object) -> checks.Finding:
        raise OSError("no")

    for name in vars(checks).copy():
        if name.startswith(("check_", "describe_", "list_")):
            monkeypatch.setattr(checks, name, fail)
    failed = checks.run_checks(str(tmp_path))

    assert [finding.check for finding in failed] == names
    assert {(finding.ok, finding.found) for finding in failed} == {(False, "OSError: no")}
