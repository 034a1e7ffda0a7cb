"""The result of an audit: precision with its interval, by stratum and by group, bound to the digest of the view.

Verdicts, samples and views that do not belong together are refused. The result names who reviewed: a person, or a
program that knows the truth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from pipelines.audit.sample import AuditSample, SampledRegion
from pipelines.audit.statistics import (
    StratumCounts,
    assume_skips,
    estimate_missing_reviews,
    estimate_precision,
    estimate_stratum,
)
from pipelines.audit.verdicts import ReviewerKind, Verdict, Verdicts
from pipelines.quality.intervals import Estimate
from schemas.boxes import as_boxes, iou
from schemas.errors import ConflictError

TARGET_HALF_WIDTH = 0.02
TINY_WORLD_TRUTH = "truth of the tiny world"
METHOD = (
    "share of accepted regions, each score stratum weighted by its population; Wilson's interval at the effective "
    "number of reviews, exact where fewer than five stand behind it; skipped regions count as missing at random"
)


class EstimateFields(TypedDict):
    """A share with its interval, as fractions."""

    value: float | None
    low: float
    high: float


class SkipBounds(TypedDict):
    """The precision if every skipped item had been rejected (wrong) or accepted (right)."""

    wrong: EstimateFields
    right: EstimateFields


class MissingReviews(TypedDict):
    """About how many more reviews bring the interval to the half width; None if a stratum has no review."""

    for_half_width: float
    about: int | None


class StratumResult(TypedDict):
    """One stratum with its reviews and its precision."""

    name: str
    group: str
    low: float
    high: float
    population: int
    drawn: int
    accepted: int
    rejected: int
    skipped: int
    precision: EstimateFields


class AuditReport(TypedDict):
    """The result of an audit. Counts are of regions."""

    view_digest: str
    sample_digest: str
    seed: int
    reviewer: str
    reviewer_kind: ReviewerKind
    population: int
    excluded: dict[str, int]
    sampled: int
    reviewed: int
    accepted: int
    rejected: int
    skipped: int
    pending: int
    confidence: float
    precision: EstimateFields
    precision_if_skips_were: SkipBounds
    more_reviews: MissingReviews
    groups: dict[str, EstimateFields]
    strata: list[StratumResult]
    method: str


Truth = Callable[[SampledRegion], Sequence[Sequence[float]]]
"""The boxes (xyxy px) of the things that a sampled region's phrase names in its image; none where it names nothing."""


def audit_report(
    sample: AuditSample, verdicts: Verdicts, *, view_digest: str | None = None, confidence: float = 0.95
) -> AuditReport:
    """Return the audit as JSON. Shares are fractions, an interval is `{"value", "low", "high"}`.

    view_digest: of the view that the report is for. If given, it must be the one that the sample was drawn from
    Raises ConflictError if sample, verdicts and view do not belong together.
    """
    _check_match(sample, verdicts, view_digest)
    strata = _count_verdicts(sample, verdicts.by_item)
    given = Counter(verdicts.by_item.values())
    groups = sorted({stratum.group for stratum in strata})
    return {
        "view_digest": sample.view_digest,
        "sample_digest": sample.digest,
        "seed": sample.seed,
        "reviewer": verdicts.reviewer,
        "reviewer_kind": verdicts.reviewer_kind,
        "population": sum(stratum.population for stratum in sample.strata),
        "excluded": sample.excluded,
        "sampled": len(sample.regions),
        "reviewed": given["accept"] + given["reject"],
        "accepted": given["accept"],
        "rejected": given["reject"],
        "skipped": given["skip"],
        "pending": len(sample.regions) - given.total(),
        "confidence": confidence,
        "precision": _interval(estimate_precision(strata, confidence)),
        "precision_if_skips_were": {
            "wrong": _interval(assume_skips(strata, right=False, confidence=confidence)),
            "right": _interval(assume_skips(strata, right=True, confidence=confidence)),
        },
        "more_reviews": {
            "for_half_width": TARGET_HALF_WIDTH,
            "about": estimate_missing_reviews(strata, TARGET_HALF_WIDTH, confidence),
        },
        "groups": {
            group: _interval(
                estimate_precision([stratum for stratum in strata if stratum.group == group], confidence)
            )
            for group in groups
        },
        "strata": [_describe_stratum(sample, stratum, confidence) for stratum in strata],
        "method": METHOD,
    }


def judge_with_truth(
    sample: AuditSample, truth: Truth, *, reviewer: str = TINY_WORLD_TRUTH, iou_at_least: float = 0.5
) -> Verdicts:
    """Return the verdicts of a program that knows the truth, recorded as such.

    A region is accepted if its phrase names a thing in the image and its box overlaps one of that thing's boxes with an
    IoU of at least `iou_at_least`.
    """
    judged: dict[str, Verdict] = {}
    for region in sample.regions:
        overlaps = iou(as_boxes([region.box]), as_boxes(list(truth(region))))
        judged[region.item] = "accept" if (overlaps >= iou_at_least).any() else "reject"
    return Verdicts(
        sample_digest=sample.digest,
        view_digest=sample.view_digest,
        reviewer=reviewer,
        reviewer_kind="truth",
        by_item=judged,
    )


def truth_of_rows(rows: Iterable[Mapping[str, Any]]) -> Truth:
    """Return a truth from rows in the form of gold. Boxes are looked up by shard name, key and the phrase's span.

    It raises ConflictError for a sample that the rows do not have.
    """
    samples: set[tuple[str, str]] = set()
    boxes: dict[tuple[tuple[str, str], int, int], list[list[float]]] = {}
    for row in rows:
        sample = _sample_name(row["shard"], row["key"])
        samples.add(sample)
        for region in row["regions"]:
            phrase = row["phrases"][region["phrase"]]
            box = [region[side] for side in ("x0", "y0", "x1", "y1")]
            boxes.setdefault((sample, phrase["begin"], phrase["end"]), []).append(box)

    def truth(region: SampledRegion) -> Sequence[Sequence[float]]:
        sample = _sample_name(region.shard, region.key)
        if sample not in samples:
            raise ConflictError(
                f"the ground truth has no sample {sample}; use the truth of the same demo world"
            )
        return boxes.get((sample, region.begin, region.end), [])

    return truth


def _sample_name(shard: str, key: str) -> tuple[str, str]:
    """Name a sample independently of the folder of its shard. Keys are unique only within a shard."""
    return shard.rsplit("/", 1)[-1], key


def _check_match(sample: AuditSample, verdicts: Verdicts, view_digest: str | None) -> None:
    sample.check()
    if view_digest is not None and view_digest != sample.view_digest:
        raise ConflictError(
            f"the sample was drawn from the view {sample.view_digest}, this view is {view_digest}: its "
            "findings do not apply to this view; draw a new sample"
        )
    theirs = verdicts.sample_digest, verdicts.view_digest
    if theirs != (sample.digest, sample.view_digest):
        raise ConflictError(
            f"the verdicts are on sample and view {theirs}, not {(sample.digest, sample.view_digest)}; give the "
            "verdicts on this sample"
        )
    unknown = verdicts.by_item.keys() - {region.item for region in sample.regions}
    if unknown:
        raise ConflictError(
            f"{len(unknown)} verdicts name items outside the sample, e.g. {min(unknown)}; remove them, or give the "
            "verdicts on this sample"
        )


def _count_verdicts(sample: AuditSample, by_item: Mapping[str, Verdict]) -> list[StratumCounts]:
    numbers = Counter((region.stratum, by_item.get(region.item)) for region in sample.regions)
    return [
        StratumCounts(
            name=stratum.name,
            group=stratum.group,
            population=stratum.population,
            accepted=numbers[stratum.name, "accept"],
            rejected=numbers[stratum.name, "reject"],
            skipped=numbers[stratum.name, "skip"],
        )
        for stratum in sample.strata
    ]


def _describe_stratum(sample: AuditSample, counts: StratumCounts, confidence: float) -> StratumResult:
    stratum = next(one for one in sample.strata if one.name == counts.name)
    return {
        "name": stratum.name,
        "group": stratum.group,
        "low": stratum.low,
        "high": stratum.high,
        "population": stratum.population,
        "drawn": stratum.drawn,
        "accepted": counts.accepted,
        "rejected": counts.rejected,
        "skipped": counts.skipped,
        "precision": _interval(estimate_stratum(counts, confidence)),
    }


def _interval(estimate: Estimate) -> EstimateFields:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}
