"""An audit is a folder: `sample.json`, drawn once, and `verdicts.db`. What the command line does with it.

Its promise: each step finds what the one before left, and nothing in the folder is ever overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine.views import open_view
from pipelines.audit.report import TINY_WORLD_TRUTH, Truth, audit_report, stand_in
from pipelines.audit.sample import AuditSample, read_sample, write_sample
from pipelines.audit.sampling import Groups, draw_sample
from pipelines.audit.verdicts import VerdictStore
from pipelines.labels.tables import Report, Table
from schemas.errors import ConflictError, NotFoundError

SAMPLE, VERDICTS = "sample.json", "verdicts.db"


class DrawnSample(Report):
    """What `audit sample` gives back."""

    sample: AuditSample
    folder: str

    def data(self) -> dict[str, Any]:
        """The sample without its regions."""
        facts = self.sample.model_dump(mode="json", exclude={"regions"})
        return {**facts, "sampled": len(self.sample.regions), "folder": self.folder}

    def tables(self) -> list[Table]:
        """The strata."""
        rows = [(one.name, str(one.population), str(one.drawn)) for one in self.sample.strata]
        title = f"{len(self.sample.regions)} regions of the view {self.sample.view_digest}, seed {self.sample.seed}"
        return [Table(title, ("stratum", "regions", "drawn"), rows)]


class AuditFindings(Report):
    """What `audit report` gives back; see `pipelines.audit.report` for the fields."""

    findings: dict[str, Any]

    def data(self) -> dict[str, Any]:
        """The audit as JSON."""
        return self.findings

    def tables(self) -> list[Table]:
        """The precision as a whole, by group and by stratum."""
        found = self.findings
        whole = {"all": found["precision"], **(found["groups"] if len(found["groups"]) > 1 else {})}
        rows = [(name, *_cells(estimate)) for name, estimate in whole.items()]
        strata = [
            (
                one["name"],
                str(one["population"]),
                str(one["accepted"]),
                str(one["rejected"]),
                *_cells(one["precision"]),
            )
            for one in found["strata"]
        ]
        header = ("precision", f"{100 * found['confidence']:.0f} % interval")
        return [
            Table(self._title(), ("regions", *header), rows),
            Table("By score", ("stratum", "regions", "accepted", "rejected", *header), strata),
        ]

    def text(self) -> str:
        """The tables, and what would make the answer sharper."""
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
    bins: int = 5,
    groups: Groups | None = None,
    overwrite: bool = False,
) -> DrawnSample:
    """Draw a sample of a view into a folder. The same again changes nothing; another one there raises ConflictError.

    overwrite: replace another sample there, unless somebody has reviewed of it
    """
    opened, path = open_view(view), Path(folder) / SAMPLE
    there = read_sample(path) if path.exists() else None
    if (
        there is not None
        and not overwrite
        and (there.view_digest, there.seed) != (opened.manifest.digest, seed)
    ):
        raise ConflictError(
            f"{path} already holds a sample of the view {there.view_digest} with seed {there.seed}, not of "
            f"{opened.manifest.digest} with seed {seed}: choose another folder, or add --overwrite"
        )
    sample = draw_sample(opened, seed=seed, n=n, bins=bins, groups=groups, source=view)
    if there is not None and overwrite and there.digest != sample.digest:
        _remove_unreviewed(Path(folder))
    write_sample(sample, path)
    return DrawnSample(sample=sample, folder=str(folder))


def _remove_unreviewed(folder: Path) -> None:
    """Remove a sample. Raises ConflictError when it has a file of verdicts: a person's work is never overwritten."""
    if (folder / VERDICTS).exists():
        raise ConflictError(
            f"{folder} holds verdicts, which --overwrite does not remove: choose another folder"
        )
    (folder / SAMPLE).unlink()


def stand_in_audit(folder: str | Path, truth: Truth, *, reviewer: str = TINY_WORLD_TRUTH) -> AuditFindings:
    """Let a program that knows the truth review the folder's sample; kept under its name, never as a person's."""
    sample = read_sample(Path(folder) / SAMPLE)
    verdicts = stand_in(sample, truth, reviewer=reviewer)
    VerdictStore(Path(folder) / VERDICTS, sample).record_all(verdicts)
    return AuditFindings(findings=audit_report(sample, verdicts))


def serve_audit(
    folder: str | Path,
    *,
    port: int,
    reviewer: str,
    say: Callable[[str], None],
    roots: Mapping[str, str] | None = None,
) -> None:
    """Serve the folder's sample for review until interrupted; `say` is given the address to open."""
    from pipelines.audit.app import serve  # a web server is needed by this verb alone

    def announce(address: str) -> None:
        say(f"Review as {reviewer} at {address} (Ctrl-C ends; every verdict is kept as it is given)")

    serve(
        Path(folder) / SAMPLE,
        Path(folder) / VERDICTS,
        port,
        reviewer=reviewer,
        roots=roots,
        announce=announce,
    )


def report_audit(
    folder: str | Path, *, view: str | None = None, reviewer: str | None = None
) -> AuditFindings:
    """What the folder's verdicts say. `view`, where given, must be the one that was sampled (else ConflictError)."""
    sample = read_sample(Path(folder) / SAMPLE)
    path = Path(folder) / VERDICTS
    if not path.exists():
        raise NotFoundError(
            f"{folder} holds no verdict yet; review it with `groundswell audit serve {folder}`"
        )
    digest = None if view is None else open_view(view).manifest.digest
    verdicts = VerdictStore(path, sample).verdicts(reviewer)
    return AuditFindings(findings=audit_report(sample, verdicts, view_digest=digest))


def _cells(estimate: Mapping[str, float | None]) -> tuple[str, str]:
    value, low, high = (estimate[name] for name in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return "-", "unknown"
    return f"{100 * value:.1f} %", f"{100 * low:.1f} to {100 * high:.1f} %"
