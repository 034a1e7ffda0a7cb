"""The commands of an audit. An audit is a folder: `sample.json`, drawn once, and `verdicts.db`.

Each step uses the files of the step before. No file of the folder is silently overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine.views import open_view
from pipelines.audit.report import (
    TINY_WORLD_TRUTH,
    AuditReport,
    EstimateFields,
    Truth,
    audit_report,
    judge_with_truth,
)
from pipelines.audit.sample import AuditSample, read_sample, write_sample
from pipelines.audit.sampling import Groups, draw_sample
from pipelines.audit.verdicts import VerdictStore
from pipelines.report_base import Report, Table
from schemas.errors import ConflictError, NotFoundError

SAMPLE, VERDICTS = "sample.json", "verdicts.db"


class DrawnSample(Report):
    """The result of `audit sample`."""

    sample: AuditSample
    folder: str

    def data(self) -> dict[str, Any]:
        """Return the sample without its regions."""
        facts = self.sample.model_dump(mode="json", exclude={"regions"})
        return {**facts, "sampled": len(self.sample.regions), "folder": self.folder}

    def tables(self) -> list[Table]:
        """Return the strata."""
        rows = [(one.name, str(one.population), str(one.drawn)) for one in self.sample.strata]
        title = f"{len(self.sample.regions)} regions of the view {self.sample.view_digest}, seed {self.sample.seed}"
        return [Table(title, ("stratum", "regions", "drawn"), rows)]


class AuditResult(Report):
    """The result of `audit report`; see `report.audit_report` for the fields."""

    findings: AuditReport

    def data(self) -> dict[str, Any]:
        """Return the audit as JSON."""
        return dict(self.findings)

    def tables(self) -> list[Table]:
        """Return the precision of the whole, by group and by stratum."""
        found = self.findings
        whole = {"all": found["precision"], **(found["groups"] if len(found["groups"]) > 1 else {})}
        rows = [(name, *_format_cells(estimate)) for name, estimate in whole.items()]
        strata = [
            (
                one["name"],
                str(one["population"]),
                str(one["accepted"]),
                str(one["rejected"]),
                *_format_cells(one["precision"]),
            )
            for one in found["strata"]
        ]
        header = ("precision", f"{100 * found['confidence']:.0f} % interval")
        return [
            Table(self._title(), ("regions", *header), rows),
            Table("By score", ("stratum", "regions", "accepted", "rejected", *header), strata),
        ]

    def text(self) -> str:
        """Return the tables, and how many more reviews would narrow the interval."""
        more = self.findings["more_reviews"]
        if more["about"] is None:
            last = "Some strata have no verdict yet: the interval counts them as unknown."
        elif more["about"]:
            last = f"About {more['about']} more reviews would bring it to +-{100 * more['for_half_width']:.0f} %."
        else:
            last = f"The interval is within +-{100 * more['for_half_width']:.0f} %."
        return f"{super().text()}\n\n{last}"

    def _title(self) -> str:
        found = self.findings
        return (
            f"{found['reviewed']} of {found['sampled']} reviewed by {found['reviewer']} "
            f"({found['skipped']} skipped, {found['pending']} pending); view {found['view_digest']}"
        )


def open_audit(
    view: str,
    folder: str | Path,
    *,
    n: int,
    seed: int,
    bins: int | None = None,
    groups: Groups | None = None,
    overwrite: bool = False,
) -> DrawnSample:
    """Draw a sample of a view into a folder. The same sample again changes nothing. Another one raises ConflictError.

    overwrite: replace another sample, unless it has verdicts
    """
    opened, path = open_view(view), Path(folder) / SAMPLE
    existing = read_sample(path) if path.exists() else None
    if (
        existing is not None
        and not overwrite
        and (existing.view_digest, existing.seed) != (opened.manifest.digest, seed)
    ):
        raise ConflictError(
            f"{path} already has a sample of the view {existing.view_digest} with seed {existing.seed}, not of "
            f"{opened.manifest.digest} with seed {seed}: choose another folder, or add --overwrite"
        )
    sample = draw_sample(opened, seed=seed, n=n, bins=bins, groups=groups, source=view)
    if existing is not None and overwrite and existing.digest != sample.digest:
        _remove_unreviewed(Path(folder))
    write_sample(sample, path)
    return DrawnSample(sample=sample, folder=str(folder))


def _remove_unreviewed(folder: Path) -> None:
    """Remove a sample. Raises ConflictError if there is a file of verdicts: a person's work is never overwritten."""
    if (folder / VERDICTS).exists():
        raise ConflictError(
            f"{folder} has verdicts, which --overwrite does not remove: choose another folder"
        )
    (folder / SAMPLE).unlink()


def run_oracle_audit(folder: str | Path, truth: Truth, *, reviewer: str = TINY_WORLD_TRUTH) -> AuditResult:
    """Let a program that knows the truth review the folder's sample. Its verdicts are never recorded as a person's."""
    sample = read_sample(Path(folder) / SAMPLE)
    verdicts = judge_with_truth(sample, truth, reviewer=reviewer)
    VerdictStore(Path(folder) / VERDICTS, sample).record_all(verdicts)
    return AuditResult(findings=audit_report(sample, verdicts))


def serve_audit(
    folder: str | Path,
    *,
    port: int,
    reviewer: str,
    say: Callable[[str], None],
    roots: Mapping[str, str] | None = None,
) -> None:
    """Serve the folder's sample for review until interrupted. `say` is called with the address to open."""
    from pipelines.audit.app import serve  # a web server is needed by this verb alone

    def announce(address: str) -> None:
        say(f"Review as {reviewer} at {address} (Ctrl-C ends; every verdict is stored at once)")

    serve(
        Path(folder) / SAMPLE,
        Path(folder) / VERDICTS,
        port,
        reviewer=reviewer,
        roots=roots,
        announce=announce,
    )


def report_audit(folder: str | Path, *, view: str | None = None, reviewer: str | None = None) -> AuditResult:
    """Return the result of the folder's verdicts.

    Raises ConflictError if `view` is given and is not the one that was sampled.
    """
    sample = read_sample(Path(folder) / SAMPLE)
    path = Path(folder) / VERDICTS
    if not path.exists():
        raise NotFoundError(f"{folder} has no verdict yet; review it with `groundswell audit serve {folder}`")
    digest = None if view is None else open_view(view).manifest.digest
    verdicts = VerdictStore(path, sample).verdicts(reviewer)
    return AuditResult(findings=audit_report(sample, verdicts, view_digest=digest))


def _format_cells(estimate: EstimateFields) -> tuple[str, str]:
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    if value is None:
        return "-", "unknown"
    return f"{100 * value:.1f} %", f"{100 * low:.1f} to {100 * high:.1f} %"
