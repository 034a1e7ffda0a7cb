"""Compiling: everything accounted for, the same inputs the same view, and no view of evidence that is not whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from engine.ledger.snapshots.snapshots import snapshot_entries
from engine.storage.store import open_store
from engine.views import open_view
from pipelines.cli import build_app
from pipelines.compile.policy import Policy
from pipelines.compile.report import CompileReport, RegionNumbers, SampleNumbers
from pipelines.compile.run import compile_view
from pipelines.labels.score_bins import score_bin
from schemas.errors import ConfigError, ConflictError, NotFoundError
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
        "dropped": {"below_score": 1},
        "merged": 0,
        "ignored": {"lost_assignment": 1},
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
    taught = [[r for r in row["regions"] if r["fate"] != "ignore"] for row in rows]
    kept = [[(r["phrase"], r["x0"], r["origin"]) for r in regions] for regions in taught]
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


@pytest.mark.parametrize(
    ("policy", "digest"),  # computed at 47d028d
    [
        (
            {"one_to_one": True, "ignore_score": None},
            "0b1328f62f668b12d7c397132311d50d782f2a26286f073fb6d826389d5353d1",
        ),
        (
            {"one_to_one": True, "ignore_score": 0.2},
            "9e8b5d73c711c255fcb386fae9aa8f6acf2d8b8883cd60296f43bbab084f92d5",
        ),
        (
            {"min_score": 0.65, "ignore_score": 0.3},
            "e4642c9e602f361b382fd588594d5445eea5e763e1307a995480081f6bba38d1",
        ),
    ],
)
def test_a_policy_that_sets_ignore_score_keeps_the_digest_of_its_view(
    tmp_path: Path, write_evidence: Write, policy: dict, digest: str
) -> None:
    write_evidence(tmp_path / "evidence", UNITS)

    assert _compile(tmp_path, **policy).digest == f"sha256:{digest}"


def test_a_view_whose_record_lacks_ignore_score_was_made_with_null(
    tmp_path: Path, write_evidence: Write
) -> None:
    write_evidence(tmp_path / "evidence", UNITS)
    _compile(tmp_path, "legacy", ignore_score=None)
    _compile(tmp_path, "default")

    legacy, default = (
        open_view(str(tmp_path / name)).manifest.provenance["policy"] for name in ("legacy", "default")
    )
    assert "ignore_score" not in legacy  # as views of 47d028d have it
    assert Policy.from_record(legacy) == Policy(ignore_score=None)
    assert Policy.from_record(default) == Policy()


def test_compiling_a_view_again_takes_its_ignore_score_where_the_file_omits_it_and_says_so(
    tmp_path: Path, write_evidence: Write
) -> None:
    write_evidence(tmp_path / "evidence", UNITS)
    file = tmp_path / "policy.yaml"

    def compiled(text: str, to: str = "view") -> Result:
        file.write_text(text)
        words = ["compile", str(tmp_path / "evidence"), str(file), "--to", str(tmp_path / to), "--json"]
        return CliRunner().invoke(build_app(), words)

    legacy = compiled("one_to_one: true\nignore_score: null\n")
    again = compiled("one_to_one: true\n")
    fresh = compiled("one_to_one: true\n", "fresh")
    changed = compiled("one_to_one: true\nignore_score: floor\n")

    assert [result.exit_code for result in (legacy, again, fresh)] == [0, 0, 0]
    digests = [json.loads(result.stdout)["digest"] for result in (legacy, again, fresh)]
    assert digests[0] == digests[1] != digests[2]
    assert "ignore_score: null" in again.stderr and str(tmp_path / "view") in again.stderr
    assert "ignore_score" not in legacy.stderr + fresh.stderr
    assert changed.exit_code == 5


def test_a_policy_that_asks_for_what_is_gone_writes_nothing(tmp_path: Path, write_evidence: Write) -> None:
    write_evidence(tmp_path / "evidence", UNITS, settings=EvidenceSettings(min_score=0.3))

    with pytest.raises(ConfigError, match=r"min_score 0.2 \(evidence: min_score 0.3\)"):
        _compile(tmp_path, min_score=0.2)

    assert not (tmp_path / "view").exists()


def test_scores_of_two_kinds_are_not_compiled_into_one_view(tmp_path: Path, write_evidence: Write) -> None:
    write_evidence(tmp_path / "evidence", UNITS, score_kinds=("glip", "detector"))

    with pytest.raises(ConflictError, match="use one output per teacher"):
        _compile(tmp_path)

    assert not (tmp_path / "view/view.json").exists()


def test_evidence_that_was_touched_gives_no_view(tmp_path: Path, write_evidence: Write) -> None:
    write_evidence(tmp_path / "evidence", UNITS)
    file = sorted((tmp_path / "evidence/data").rglob("*.parquet"))[-1]
    file.write_bytes(file.read_bytes()[:-1])

    with pytest.raises(ConflictError):
        _compile(tmp_path)

    assert not (tmp_path / "view/view.json").exists()


def test_evidence_that_holds_less_than_its_snapshot_promises_gives_no_view(
    tmp_path: Path, write_evidence: Write
) -> None:
    snapshot = write_evidence(tmp_path / "evidence", UNITS)
    store = open_store(str(tmp_path / "evidence"))
    first, *others = snapshot_entries(store, snapshot)
    put_snapshot(store, 2, [first.model_copy(update={"regions": 9}), *others], snapshot.planned)

    with pytest.raises(ConflictError, match=r"expected 4 samples and 11 regions \(snapshot\), read 4 and 6"):
        _compile(tmp_path)

    assert not (tmp_path / "view/view.json").exists()


def test_a_folder_without_evidence_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="groundswell label"):
        _compile(tmp_path)


def test_a_report_that_does_not_add_up_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="1 lost"):
        RegionNumbers(regions_in=3, kept=1, dropped={"below_score": 1}, merged=0)
    with pytest.raises(ValueError, match="do not add up"):
        SampleNumbers(samples_in=3, kept=3, with_box=1, without_box=1)


def test_scores_at_the_ends_have_a_bin() -> None:
    assert (score_bin(0.0), score_bin(0.7), score_bin(1.0)) == (0, 14, 19)
