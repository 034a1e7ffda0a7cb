"""What an audit found: precision with its interval, by stratum and by group, bound to the digest of the view.

Its promise: it refuses verdicts, samples and views that do not belong together, and it says who reviewed: a person, or
a program that knows the truth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pipelines.audit.sample import AuditSample, SampledRegion
from pipelines.audit.statistics import (
    Estimate,
    StratumCounts,
    if_skips_were,
    precision,
    reviews_missing,
    stratum_estimate,
)
from pipelines.audit.verdicts import Verdict, Verdicts
from schemas.boxes import as_boxes, iou
from schemas.errors import ConflictError

TARGET_HALF_WIDTH = 0.02
TINY_WORLD_TRUTH = "truth of the tiny world"
METHOD = (
    "share of accepted regions, each score stratum weighted by its population; Wilson's interval at the effective "
    "number of reviews, exact where fewer than five stand behind it; skipped regions count as missing at random"
)

Truth = Callable[[SampledRegion], Sequence[Sequence[float]]]
"""The boxes (xyxy px) of the things that a sampled region's phrase names in its image; none where it names nothing."""


def audit_report(
    sample: AuditSample, verdicts: Verdicts, *, view_digest: str | None = None, confidence: float = 0.95
) -> dict[str, Any]:
    """The audit as JSON: shares are fractions, an interval is `{"value", "low", "high"}`.

    view_digest: of the view the report is for; where given, it must be the one the sample was drawn from
    Raises ConflictError when sample, verdicts and view do not belong together.
    """
    _check_belonging(sample, verdicts, view_digest)
    strata = _count(sample, verdicts.by_item)
    said = Counter(verdicts.by_item.values())
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
        "reviewed": said["accept"] + said["reject"],
        "accepted": said["accept"],
        "rejected": said["reject"],
        "skipped": said["skip"],
        "pending": len(sample.regions) - said.total(),
        "confidence": confidence,
        "precision": _interval(precision(strata, confidence)),
        "precision_if_skips_were": {
            "wrong": _interval(if_skips_were(strata, right=False, confidence=confidence)),
            "right": _interval(if_skips_were(strata, right=True, confidence=confidence)),
        },
        "more_reviews": {
            "for_half_width": TARGET_HALF_WIDTH,
            "about": reviews_missing(strata, TARGET_HALF_WIDTH, confidence),
        },
        "groups": {
            group: _interval(precision([stratum for stratum in strata if stratum.group == group], confidence))
            for group in groups
        },
        "strata": [_stratum(sample, stratum, confidence) for stratum in strata],
        "method": METHOD,
    }


def stand_in(
    sample: AuditSample, truth: Truth, *, reviewer: str = TINY_WORLD_TRUTH, iou_at_least: float = 0.5
) -> Verdicts:
    """Verdicts of a program that knows the truth, recorded as such.

    A region is accepted when its phrase names a thing in the image and its box overlaps one of that thing's boxes
    with an IoU of at least `iou_at_least`.
    """
    said: dict[str, Verdict] = {}
    for region in sample.regions:
        overlaps = iou(as_boxes([region.box]), as_boxes(list(truth(region))))
        said[region.item] = "accept" if (overlaps >= iou_at_least).any() else "reject"
    return Verdicts(
        sample_digest=sample.digest,
        view_digest=sample.view_digest,
        reviewer=reviewer,
        reviewer_kind="truth",
        by_item=said,
    )


def truth_of_rows(rows: Iterable[Mapping[str, Any]]) -> Truth:
    """A truth from rows in the form of gold: boxes are looked up by shard name, key and the phrase's span.

    Raises ConflictError, when asked, for a sample that the rows do not hold.
    """
    samples: set[tuple[str, str]] = set()
    boxes: dict[tuple[tuple[str, str], int, int], list[list[float]]] = {}
    for row in rows:
        sample = _place(row["shard"], row["key"])
        samples.add(sample)
        for region in row["regions"]:
            phrase = row["phrases"][region["phrase"]]
            box = [region[side] for side in ("x0", "y0", "x1", "y1")]
            boxes.setdefault((sample, phrase["begin"], phrase["end"]), []).append(box)

    def truth(region: SampledRegion) -> Sequence[Sequence[float]]:
        sample = _place(region.shard, region.key)
        if sample not in samples:
            raise ConflictError(f"the truth holds no sample {sample}: it is of another world than the view")
        return boxes.get((sample, region.begin, region.end), [])

    return truth


def _place(shard: str, key: str) -> tuple[str, str]:
    """A sample's name wherever its shard lies: keys are unique within a shard only."""
    return shard.rsplit("/", 1)[-1], key


def _check_belonging(sample: AuditSample, verdicts: Verdicts, view_digest: str | None) -> None:
    sample.check()
    if view_digest is not None and view_digest != sample.view_digest:
        raise ConflictError(
            f"the sample was drawn from the view {sample.view_digest}, this view is {view_digest}: what was found "
            "there says nothing of this one; draw a new sample"
        )
    theirs = verdicts.sample_digest, verdicts.view_digest
    if theirs != (sample.digest, sample.view_digest):
        raise ConflictError(
            f"the verdicts are on sample and view {theirs}, not {(sample.digest, sample.view_digest)}"
        )
    strangers = verdicts.by_item.keys() - {region.item for region in sample.regions}
    if strangers:
        raise ConflictError(f"{len(strangers)} verdicts name items outside the sample, e.g. {min(strangers)}")


def _count(sample: AuditSample, by_item: Mapping[str, Verdict]) -> list[StratumCounts]:
    said = Counter((region.stratum, by_item.get(region.item)) for region in sample.regions)
    return [
        StratumCounts(
            name=stratum.name,
            group=stratum.group,
            population=stratum.population,
            accepted=said[stratum.name, "accept"],
            rejected=said[stratum.name, "reject"],
            skipped=said[stratum.name, "skip"],
        )
        for stratum in sample.strata
    ]


def _stratum(sample: AuditSample, counts: StratumCounts, confidence: float) -> dict[str, Any]:
    stratum = next(one for one in sample.strata if one.name == counts.name)
    return {
        **stratum.model_dump(),
        **counts.model_dump(include={"accepted", "rejected", "skipped"}),
        "precision": _interval(stratum_estimate(counts, confidence)),
    }


def _interval(estimate: Estimate) -> dict[str, float | None]:
    return estimate.model_dump()
