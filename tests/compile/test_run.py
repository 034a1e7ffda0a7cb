"""Compiling: everything accounted for, the same inputs the same view, and no view of evidence that is not whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.ledger.snapshots import snapshot_entries
from engine.storage import open_store
from engine.views import open_view
from pipelines.compile.policy import Policy
from pipelines.compile.report import CompileReport, RegionNumbers, SampleNumbers, score_bin
from pipelines.compile.run import compile_view
from schemas.errors import ConfigError, Conflict, NotFound
from schemas.ledger import Snapshot
from schemas.settings import EvidenceSettings
from tests.compile.conftest import put_snapshot

LEFT, RIGHT = (0, 0, 50, 50), (100, 0, 150, 50)
UNITS = [
    [[(0, *LEFT, 0.9), (0, *RIGHT, 0.8), (1, *LEFT, 0.7)], None, [(1, *LEFT, 0.3)]],
    [[], [(0, *RIGHT, 0.5), (1, *LEFT, 0.6)]],
]
Write = Callable[..., Snapshot]


def _compile(tmp_path: Path, to: str = "view", **policy: object) -> CompileReport:
    return compile_view(str(tmp_path / "evidence"), Policy(**policy), str(tmp_path / to))


def test_the_report_accounts_for_every_sample_region_and_phrase(
    tmp_path: Path, write_evidence: Write
) -> None:
    write_evidence(tmp_path / "evidence", UNITS, planned=3)

    report = _compile(tmp_path, one_to_one=True)

    assert report.units == {"planned": 3, "committed": 2, "failed": 0}
    assert report.samples == SampleNumbers(samples_in=4, kept=4, with_box=2, without_box=2)
    assert report.regions.model_dump() == {
        "regions_in": 6,
        "kept": 4,
        "dropped": {"below_score": 1, "lost_assignment": 1},
        "merged": 0,
        "ignored": {},
        "class_only": 0,
        "weight": 4.0,
    }
    assert report.numbers == {"singular": 5} and report.gold == {}
    assert report.phrases.model_dump() == {"positive": 4, "unresolved": 4, "absent": 0}
    assert sum(report.scores.evidence) == 6 and sum(report.scores.view) == 4
    assert "lost_assignment" in report.text() and report.data()["digest"] == report.digest


def test_the_view_holds_the_kept_regions_in_unit_and_index_order(
    tmp_path: Path, write_evidence: Write
) -> None:
    write_evidence(tmp_path / "evidence", UNITS)

    report = _compile(tmp_path, one_to_one=True)
    view = open_view(str(tmp_path / "view"))
    rows = list(view.rows())

    assert view.manifest.digest == report.digest
    assert [(row["unit"][15], row["index"]) for row in rows] == [("0", 0), ("0", 2), ("1", 0), ("1", 1)]
    kept = [[(r["phrase"], r["x0"], r["origin"]) for r in row["regions"]] for row in rows]
    assert kept == [
        [(0, 100, "teacher"), (1, 0, "teacher")],
        [],
        [],
        [(0, 100, "teacher"), (1, 0, "teacher")],
    ]
    assert view.manifest.provenance["policy_digest"] == Policy(one_to_one=True).digest()
    assert view.manifest.provenance["score_kind"] == "test.score"


def test_samples_without_a_kept_box_can_be_left_out(tmp_path: Path, write_evidence: Write) -> None:
    write_evidence(tmp_path / "evidence", UNITS)

    report = _compile(tmp_path, keep_samples_without_box=False)

    assert (report.samples.kept, report.samples.samples_in) == (2, 4)
    assert len(open_view(str(tmp_path / "view"))) == 2


def test_the_same_evidence_and_policy_give_the_same_view_and_another_policy_another(
    tmp_path: Path, write_evidence: Write
) -> None:
    for folder in ("evidence", "again"):
        write_evidence(tmp_path / folder, UNITS)

    first, second = (_compile(tmp_path, to) for to in ("a", "b"))
    stricter = _compile(tmp_path, "c", min_score=0.65)
    elsewhere = compile_view(str(tmp_path / "again"), Policy(), str(tmp_path / "d"))

    assert first == second == elsewhere
    assert (tmp_path / "a/view.json").read_bytes() == (tmp_path / "d/view.json").read_bytes()
    assert stricter.digest != first.digest


def test_a_policy_that_asks_for_what_is_gone_writes_nothing(tmp_path: Path, write_evidence: Write) -> None:
    write_evidence(tmp_path / "evidence", UNITS, settings=EvidenceSettings(min_score=0.3))

    with pytest.raises(ConfigError, match=r"min_score 0.2 \(evidence: min_score 0.3\)"):
        _compile(tmp_path, min_score=0.2)

    assert not (tmp_path / "view").exists()


def test_scores_of_two_kinds_are_not_compiled_into_one_view(tmp_path: Path, write_evidence: Write) -> None:
    write_evidence(tmp_path / "evidence", UNITS, score_kinds=("glip", "detector"))

    with pytest.raises(Conflict, match="different teachers apart"):
        _compile(tmp_path)

    assert not (tmp_path / "view/view.json").exists()


def test_evidence_that_was_touched_gives_no_view(tmp_path: Path, write_evidence: Write) -> None:
    write_evidence(tmp_path / "evidence", UNITS)
    file = sorted((tmp_path / "evidence/data").rglob("*.parquet"))[-1]
    file.write_bytes(file.read_bytes()[:-1])

    with pytest.raises(Conflict):
        _compile(tmp_path)

    assert not (tmp_path / "view/view.json").exists()


def test_evidence_that_holds_less_than_its_snapshot_promises_gives_no_view(
    tmp_path: Path, write_evidence: Write
) -> None:
    snapshot = write_evidence(tmp_path / "evidence", UNITS)
    store = open_store(str(tmp_path / "evidence"))
    first, *others = snapshot_entries(store, snapshot)
    put_snapshot(store, 2, [first.model_copy(update={"regions": 9}), *others], snapshot.planned)

    with pytest.raises(Conflict, match="promises 4 samples and 11 regions, its files hold 4 and 6"):
        _compile(tmp_path)

    assert not (tmp_path / "view/view.json").exists()


def test_a_folder_without_evidence_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="groundswell label"):
        _compile(tmp_path)


def test_a_report_that_does_not_add_up_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="1 lost"):
        RegionNumbers(regions_in=3, kept=1, dropped={"below_score": 1}, merged=0)
    with pytest.raises(ValueError, match="do not add up"):
        SampleNumbers(samples_in=3, kept=3, with_box=1, without_box=1)


def test_scores_at_the_ends_have_a_bin() -> None:
    assert (score_bin(0.0), score_bin(0.7), score_bin(1.0)) == (0, 14, 19)
