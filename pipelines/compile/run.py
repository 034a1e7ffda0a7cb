"""Compile evidence into a view: streaming, on a CPU, the same evidence and policy always the same view."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import islice

from pydantic import ValidationError

from engine.settings import StorageSettings
from engine.views import check_no_other_view, open_view, write_view
from pipelines.compile.apply import apply_policy
from pipelines.compile.gold_boxes import GoldBoxes
from pipelines.compile.policy import Policy
from pipelines.compile.report import CompileCounter, CompileReport
from pipelines.labels.evidence import Evidence, open_evidence
from pipelines.quality.decoys import DecoyCounter
from schemas.codes import explain_counts
from schemas.errors import ConfigError, ConflictError, NotFoundError, UnfinishedError
from schemas.progress import ProgressCallback
from schemas.rows import ViewRow

BATCH_ROWS = 256


def compile_view(
    evidence_url: str,
    policy: Policy,
    out_url: str,
    *,
    storage: StorageSettings | None = None,
    progress: ProgressCallback | None = None,
    overwrite: bool = False,
    allow_unlabeled: bool = False,
) -> CompileReport:
    """Write the view of the evidence's latest snapshot under a policy.

    overwrite:       replace another view at `out_url`
    allow_unlabeled: write an empty view if no sample is labeled, for an experiment that counts it
    Raises ConfigError if the policy asks for regions that the evidence does not have, names a calibration of other
    scores, or a gold that is none. Raises NotFoundError without evidence or gold, ConflictError if `out_url` has
    another view or the evidence differs from its snapshot, and UnfinishedError, before anything is written, if no
    sample of the evidence is labeled.
    """
    evidence = open_evidence(evidence_url, storage)
    if not allow_unlabeled:
        _refuse_unlabeled(evidence)
    policy.check_evidence(evidence.settings)
    policy.check_score_kind(evidence.score_kind)
    counter = CompileCounter(DecoyCounter(policy.min_score, evidence.pool))
    with nullcontext() if policy.gold is None else GoldBoxes(policy.gold, storage) as gold:
        rows = _compile_rows(evidence, policy, counter, gold, progress)
        provenance = _describe_inputs(evidence, policy, gold)
        if not overwrite:
            check_no_other_view(out_url, kind="view", provenance=provenance, storage=storage)
        manifest = write_view(
            out_url, rows, kind="view", provenance=provenance, storage=storage, overwrite=overwrite
        )
    return counter.report(
        digest=manifest.digest,
        policy_digest=policy.digest(),
        snapshot=evidence.snapshot,
        score_kind=evidence.score_kind,
        gold={} if gold is None else gold.digests,
    )


def _refuse_unlabeled(evidence: Evidence) -> None:
    """Raise UnfinishedError if no sample is labeled. An empty sample has no label either."""
    counts = evidence.snapshot.totals.samples
    if counts.labelled:
        return
    reasons = "".join(f"\n  {reason}" for reason in explain_counts(counts.rejected))
    raise UnfinishedError(
        f"{evidence.store.url} has no labeled sample: {counts.samples_in} in, 0 labeled, {counts.empty} empty, "
        f"{sum(counts.rejected.values())} rejected; expected at least one. Check `input:` of the job against its "
        f"shards and label again; no view was written{reasons}"
    )


def inherit_stored_fields(
    policy: Policy, view_url: str, say: Callable[[str], None], storage: StorageSettings | None = None
) -> Policy:
    """Return the policy with fields that its file omits taken from the view at `view_url`, each named to `say`.

    Without a view it is the policy itself. Raises ConfigError if a stored value contradicts the file.
    """
    try:
        stored = open_view(view_url, storage).manifest.provenance.get("policy")
    except NotFoundError:
        return policy
    if not isinstance(stored, dict):
        return policy
    try:
        policy, taken = policy.continue_from(stored)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(
            f"fields inherited from the view at {view_url} contradict the policy: {reason}; set them in the policy's "
            "file, or replace the view with `compile --overwrite`"
        ) from None
    for name, value in taken.items():
        new = json.dumps(type(policy).model_fields[name].default)
        say(
            f"{name}: {json.dumps(value)}, as the view at {view_url} has it, since the policy's file omits it "
            f"(a new view gets {new}); set it to change it"
        )
    return policy


def _describe_inputs(evidence: Evidence, policy: Policy, gold: GoldBoxes | None) -> dict[str, object]:
    """Return the provenance of a view. Gold is named by its digest too, because its content may change."""
    return {
        "snapshot_digest": evidence.snapshot.digest,
        "job_digest": evidence.snapshot.job_digest,
        "policy_digest": policy.digest(),
        "policy": policy.identity(),
        "score_kind": evidence.score_kind,
        **({} if gold is None else {"gold": gold.digests}),
    }


def _compile_rows(
    evidence: Evidence,
    policy: Policy,
    counter: CompileCounter,
    gold: GoldBoxes | None,
    progress: ProgressCallback | None,
) -> Iterator[ViewRow]:
    """Yield view rows. Raises ConflictError at the end if the evidence differs from its snapshot."""
    totals = evidence.snapshot.totals
    expected, regions = totals.samples.labelled + totals.samples.empty, totals.regions
    rows = evidence.rows()
    while batch := list(islice(rows, BATCH_ROWS)):
        boxes = None if gold is None else [gold.load_image(row["image_sha256"]) for row in batch]
        compiled = apply_policy(batch, policy, boxes)
        counter.add(batch, compiled)
        yield from (row for row, stays in zip(compiled.rows, compiled.in_view) if stays)
        if progress:
            progress("samples", counter.samples_in, expected)
    if (counter.samples_in, counter.regions_in) != (expected, regions):
        raise ConflictError(
            f"expected {expected} samples and {regions} regions (snapshot), read {counter.samples_in} and "
            f"{counter.regions_in}; run `groundswell verify`"
        )
