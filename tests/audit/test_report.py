"""The audit report: what belongs together, who reviewed, and what the numbers say."""

import pytest

from engine.views import write_view
from pipelines.audit.commands import open_audit, report_audit, run_oracle_audit
from pipelines.audit.report import audit_report, judge_with_truth, truth_of_rows
from pipelines.audit.sample import read_sample
from pipelines.audit.verdicts import VerdictStore
from schemas.errors import ConflictError, NotFoundError


def view_row(index, box, score, *, root="dog", caption="a dog", **region):
    full = {
        "phrase": 0, "score": score, "class_score": None, "quality": None, "pass_index": 0, "p_correct": None,
        "q_value": None, "weight": 1.0, "fate": "positive", "origin": "teacher",
    }  # fmt: skip
    return {
        "unit": "u", "shard": "s.tar", "index": index, "key": f"{index:06d}",
        "pixels": {"url": "s.tar", "offset": 0, "length": 1, "row_group": None, "row": None},
        "image_sha256": "0" * 64, "source_url": None, "source_sha256": None, "license": None, "meta": "{}",
        "width": 96, "height": 96, "original_width": None, "original_height": None, "exif_orientation": 1,
        "caption": caption, "dropped_phrases": [],
        "phrases": [{"begin": 0, "end": len(caption), "text": caption, "root": root, "kind": "chunk",
                     "groundable": True, "truncated": False, "fate": "positive"}],
        "regions": [{**full, **region, **dict(zip(("x0", "y0", "x1", "y1"), map(float, box), strict=True))}],
    }  # fmt: skip


def tiny_world(tmp_path, n=40):
    """Make a view whose first three quarters have the right box, and its truth."""
    right, wrong = (10, 10, 50, 50), (60, 60, 90, 90)
    rows = [view_row(i, right if i < 0.75 * n else wrong, 0.9 - 0.8 * i / n) for i in range(n)]
    truth = [view_row(i, (12, 10, 50, 52), 1.0, origin="human") for i in range(n)]
    write_view(str(tmp_path / "view"), rows, kind="view", provenance={})
    return str(tmp_path / "view"), truth_of_rows(truth)


def test_a_stand_in_review_finds_the_worlds_precision_and_is_recorded_as_no_person(tmp_path):
    view, truth = tiny_world(tmp_path)
    sample = open_audit(view, tmp_path / "audit", n=40, seed=0).sample
    findings = run_oracle_audit(tmp_path / "audit", truth).data()

    assert (
        findings
        == audit_report(sample, judge_with_truth(sample, truth))
        == report_audit(tmp_path / "audit").data()
    )
    assert findings["precision"] == {"value": 0.75, "low": 0.75, "high": 0.75}  # all 40 of 40 were reviewed
    assert (findings["accepted"], findings["rejected"], findings["pending"]) == (30, 10, 0)
    assert (findings["reviewer"], findings["reviewer_kind"]) == ("truth of the tiny world", "truth")


def test_part_of_the_view_gives_an_interval_around_the_truth_and_says_how_many_more_are_needed(tmp_path):
    view, truth = tiny_world(tmp_path, n=400)
    sample = open_audit(view, tmp_path / "audit", n=100, seed=1).sample
    findings = audit_report(sample, judge_with_truth(sample, truth))

    estimate = findings["precision"]
    assert estimate["low"] < 0.75 < estimate["high"] and estimate["high"] - estimate["low"] < 0.2
    assert 100 < findings["more_reviews"]["about"] <= 300
    assert [one["precision"]["value"] for one in findings["strata"]][-1] == 1.0


def test_a_phrase_that_names_nothing_in_the_image_is_rejected_and_a_foreign_truth_is_refused(tmp_path):
    view, _ = tiny_world(tmp_path)
    sample = open_audit(view, tmp_path / "audit", n=10, seed=0).sample
    absent = truth_of_rows([{**view_row(i, (0, 0, 9, 9), 1.0), "regions": []} for i in range(40)])

    assert set(judge_with_truth(sample, absent).by_item.values()) == {"reject"}
    with pytest.raises(ConflictError, match="same demo world"):
        judge_with_truth(sample, truth_of_rows([]))


def test_a_view_of_another_digest_is_refused(tmp_path):
    view, truth = tiny_world(tmp_path)
    sample = open_audit(view, tmp_path / "audit", n=10, seed=0).sample
    write_view(str(tmp_path / "other"), [view_row(0, (1, 1, 9, 9), 0.9)], kind="view", provenance={})
    store = VerdictStore(tmp_path / "audit" / "verdicts.db", sample)
    store.record("e1", sample.regions[0].item, "ann", "accept")

    assert report_audit(tmp_path / "audit", view=view).data()["reviewed"] == 1
    with pytest.raises(ConflictError, match="draw a new sample"):
        report_audit(tmp_path / "audit", view=str(tmp_path / "other"))


def test_verdicts_on_another_sample_are_refused(tmp_path):
    view, truth = tiny_world(tmp_path)
    one = open_audit(view, tmp_path / "one", n=10, seed=0).sample
    two = open_audit(view, tmp_path / "two", n=10, seed=1).sample

    with pytest.raises(ConflictError, match="verdicts are on sample.*; give the verdicts on this sample"):
        audit_report(one, judge_with_truth(two, truth))
    stray = judge_with_truth(one, truth).model_copy(update={"by_item": {"made up": "accept"}})
    with pytest.raises(ConflictError, match="outside the sample.*; remove them"):
        audit_report(one, stray)


def test_skips_and_pending_items_are_counted_and_not_judged(tmp_path):
    view, _ = tiny_world(tmp_path)
    sample = open_audit(view, tmp_path / "audit", n=20, seed=0).sample
    store = VerdictStore(tmp_path / "audit" / "verdicts.db", sample)
    for number, verdict in enumerate(["accept", "accept", "reject", "skip"]):
        store.record(f"e{number}", sample.regions[number].item, "ann", verdict)
    report = report_audit(tmp_path / "audit")
    found = report.data()

    assert (found["reviewed"], found["skipped"], found["pending"]) == (3, 1, 16)
    assert found["precision_if_skips_were"]["wrong"]["low"] <= found["precision"]["low"]
    assert "3 of 20 reviewed by ann (1 skipped, 16 pending)" in report.text()


def test_each_verb_says_what_is_missing(tmp_path):
    view, _ = tiny_world(tmp_path)
    with pytest.raises(NotFoundError, match="audit sample"):
        report_audit(tmp_path / "audit")
    open_audit(view, tmp_path / "audit", n=5, seed=0)
    with pytest.raises(NotFoundError, match="audit serve"):
        report_audit(tmp_path / "audit")

    assert read_sample(tmp_path / "audit" / "sample.json").view == view
