"""Compile evidence into a view: streaming, on a CPU, the same evidence and policy always the same view."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

from pydantic import ValidationError

from engine.settings import StorageSettings
from engine.views import check_no_other_view, open_view, write_view
from pipelines.compile.evidence import Evidence, open_evidence
from pipelines.compile.gold_boxes import GoldBoxes
from pipelines.compile.policy import Policy
from pipelines.compile.report import CompileReport, Tally
from pipelines.compile.rules import apply_policy
from pipelines.quality.decoys import DecoyTally
from schemas.codes import explain_counts
from schemas.errors import ConfigError, ConflictError, NotFoundError, UnfinishedError
from schemas.progress import ProgressCallback


def compile_view(
    evidence_url: str,
    policy: Policy,
    out_url: str,
    *,
    storage: StorageSettings | None = None,
    progress: ProgressCallback | None = None,
    overwrite: bool = False,
    allow_unlabelled: bool = False,
) -> CompileReport:
    """Write the view of the evidence's latest snapshot under a policy.

    overwrite:        replace another view that stands at `out_url`
    allow_unlabelled: write an empty view where no sample is labelled, for an experiment that counts it
    Raises ConfigError when the policy asks for what the evidence no longer holds, or names a calibration of other
    scores or a gold that is none; NotFoundError without evidence or gold; ConflictError when `out_url` holds another
    view or the evidence is not what its snapshot says; UnfinishedError, before anything is written, when no sample of
    the evidence is labelled.
    """
    evidence = open_evidence(evidence_url, storage)
    if not allow_unlabelled:
        _refuse_unlabelled(evidence)
    policy.refuse_unless_held_by(evidence.settings)
    policy.refuse_unless_scores_are(evidence.score_kind)
    tally = Tally(DecoyTally(policy.min_score, evidence.pool))
    with nullcontext() if policy.gold is None else GoldBoxes(policy.gold, storage) as gold:
        rows = _compiled_rows(evidence, policy, tally, gold, progress)
        provenance = _provenance(evidence, policy, gold)
        if not overwrite:
            check_no_other_view(out_url, kind="view", provenance=provenance, storage=storage)
        manifest = write_view(
            out_url, rows, kind="view", provenance=provenance, storage=storage, overwrite=overwrite
        )
    return tally.report(
        digest=manifest.digest,
        policy_digest=policy.digest(),
        snapshot=evidence.snapshot,
        score_kind=evidence.score_kind,
        gold={} if gold is None else gold.digests,
    )


def _refuse_unlabelled(evidence: Evidence) -> None:
    """Raise UnfinishedError when no sample is labelled: an empty sample was looked at and has nothing to learn from."""
    counts = evidence.snapshot.totals.samples
    if counts.labelled:
        return
    reasons = "".join(f"\n  {reason}" for reason in explain_counts(counts.rejected))
    raise UnfinishedError(
        f"{evidence.store.url} holds no labelled sample: {counts.samples_in} in, 0 labelled, {counts.empty} empty, "
        f"{sum(counts.rejected.values())} rejected; expected at least one. Check `input:` of the job against its "
        f"shards and label again; no view was written{reasons}"
    )


def continued_policy(
    policy: Policy, view_url: str, say: Callable[[str], None], storage: StorageSettings | None = None
) -> Policy:
    """Return the policy with what its file omits as the view that stands at `view_url` has it; say what was taken.

    Without a view it is the policy itself. Raises ConfigError where the stored value does not go with the file's.
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
            f"the policy omits what the view at {view_url} has: {reason}. Set it in the policy's file"
        ) from None
    for name, value in taken.items():
        new = json.dumps(type(policy).model_fields[name].default)
        say(
            f"{name}: {json.dumps(value)}, as the view at {view_url} has it, since the policy's file omits it "
            f"(a new view gets {new}); set it to change it"
        )
    return policy


def _provenance(evidence: Evidence, policy: Policy, gold: GoldBoxes | None) -> dict[str, Any]:
    """Where a view comes from. Gold is named by its digest too: its place alone does not say what it held."""
    return {
        "snapshot_digest": evidence.snapshot.digest,
        "job_digest": evidence.snapshot.job_digest,
        "policy_digest": policy.digest(),
        "policy": policy.identity(),
        "score_kind": evidence.score_kind,
        **({} if gold is None else {"gold": gold.digests}),
    }


def _compiled_rows(
    evidence: Evidence,
    policy: Policy,
    tally: Tally,
    gold: GoldBoxes | None,
    progress: ProgressCallback | None,
) -> Iterator[dict[str, Any]]:
    """View rows; the manifest is not written unless the evidence held what its snapshot promised."""
    totals = evidence.snapshot.totals
    expected, regions = totals.samples.labelled + totals.samples.empty, totals.regions
    for done, row in enumerate(evidence.rows(), start=1):
        compiled = apply_policy(row, policy, () if gold is None else gold.of_image(row["image_sha256"]))
        in_view = policy.keep_samples_without_box or compiled.teaches
        tally.add(row, compiled, in_view)
        if in_view:
            yield compiled.row
        if progress:
            progress("samples", done, expected)
    if (tally.samples_in, tally.regions_in) != (expected, regions):
        raise ConflictError(
            f"the snapshot promises {expected} samples and {regions} regions, its files hold {tally.samples_in} and "
            f"{tally.regions_in}: run `groundswell verify`"
        )
