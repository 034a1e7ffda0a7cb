"""Judge a labeling run by its rejected samples: a run that rejected most of its input is not a success.

Promise: both terms of the share are committed totals of the job, not of one call, so a rerun
comes to the same judgement.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.ledger.snapshots.summary import Summary
from engine.storage.store import Store
from pipelines.label.progress.record import FOLDER, load_latest_progress
from pipelines.label.summary import JudgedTotals, LabelSummary
from schemas.codes import explain_counts

# Left out on purpose: not counted in either term. FILTERED and TAKEN_DOWN are reserved names.
LEFT_OUT = frozenset({"NOT_SELECTED", "FILTERED", "TAKEN_DOWN"})
MIN_COUNTED = 100  # of fewer samples, only a run that rejected all of them is judged


@dataclass(frozen=True)
class Judgement:
    """The rejected samples of a job, compared with what `run.max_rejected` allows."""

    counted: int
    """Samples read, without those that were left out on purpose."""
    rejected: dict[str, int]
    """By code, without those that were left out on purpose."""
    left_out: dict[str, int]
    """By code."""
    max_rejected: float
    has_holes: bool
    """Whether units are failed or pending: then the job may have samples that were not read yet."""

    @property
    def num_rejected(self) -> int:
        """Sum over the codes."""
        return sum(self.rejected.values())

    @property
    def share(self) -> float | None:
        """Rejected share of the counted samples; None where none is counted."""
        return self.num_rejected / self.counted if self.counted else None

    @property
    def is_passed(self) -> bool:
        """Whether the run counts as a success, holes aside."""
        if self.share is None:
            return self.has_holes  # the holes are the failure then
        applies = self.counted >= MIN_COUNTED or self.num_rejected == self.counted
        return not applies or self.share <= self.max_rejected

    def line(self) -> str:
        """One line on the rejected samples; empty where none was rejected."""
        if not self.rejected or self.share is None:
            return ""
        codes = ", ".join(f"{code} {count}" for code, count in sorted(self.rejected.items()))
        return f"rejected {self.num_rejected} of {self.counted} samples ({100 * self.share:.1f} %): {codes}"

    def why(self) -> str:
        """Say what is wrong, in one line; empty for a run that passed."""
        if self.is_passed:
            return ""
        if self.share is not None:
            return (
                f"{self.num_rejected} of {self.counted} samples were rejected ({100 * self.share:.1f} %); expected at "
                f"most {100 * self.max_rejected:g} % (run.max_rejected: {self.max_rejected:g})"
            )
        if self.left_out:
            codes = ", ".join(f"{code} {count}" for code, count in sorted(self.left_out.items()))
            return f"no sample was selected: all samples read are left out ({codes})"
        return "the shards of the job contain no sample, so nothing was labeled"

    def remedy(self) -> str:
        """Say what to do about it."""
        if self.share is not None:
            return (
                "check `input:` (format, image, caption) against the shards, or raise run.max_rejected if these "
                "rejections are right"
            )
        if self.left_out:
            return "compare the keys of input.only with the shards' keys, or read more samples"
        return "check input.urls and input.only, and list the shards (`tar -tf`)"

    def reasons(self) -> list[str]:
        """Return a line for each code with its count and meaning, most frequent first."""
        return explain_counts(self.rejected)

    def text(self) -> str:
        """Return why, the remedy and the reasons; empty for a run that passed."""
        if self.is_passed:
            return ""
        return "\n".join([f"{self.why()}; {self.remedy()}", *(f"  {reason}" for reason in self.reasons())])

    def data(self) -> JudgedTotals:
        """Return `judged` of docs/interfaces.md."""
        return {
            "counted": self.counted,
            "rejected": self.num_rejected,
            "max_rejected": self.max_rejected,
            "passed": self.is_passed,
        }


def judge(summary: Summary, max_rejected: float) -> Judgement:
    """Judge the summary of a job (docs/interfaces.md)."""
    samples, units = summary["samples"], summary["units"]
    left_out = {code: count for code, count in samples["rejected"].items() if code in LEFT_OUT}
    return Judgement(
        counted=samples["in"] - sum(left_out.values()),
        rejected={code: count for code, count in samples["rejected"].items() if code not in LEFT_OUT},
        left_out=left_out,
        max_rejected=max_rejected,
        has_holes=bool(units["failed"] or units["pending"]),
    )


def judge_summary(summary: LabelSummary) -> Judgement:
    """Judge a summary that names its limit under `judged`."""
    return judge(summary, summary["judged"]["max_rejected"])


def record_limit(store: Store, max_rejected: float) -> None:
    """Write the limit to the latest progress record, where `status` reads it, after a call without a unit to run."""
    latest = load_latest_progress(store)
    if latest is not None and latest.settings.max_rejected != max_rejected:
        settings = latest.settings.model_copy(update={"max_rejected": max_rejected})
        record = latest.model_copy(update={"settings": settings})
        store.put(f"{FOLDER}/{latest.run}.json", record.model_dump_json().encode() + b"\n")
