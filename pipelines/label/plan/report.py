"""The report of `plan`: the shards, the units done, the units to do and why, and what they will cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any, cast

from pydantic import Field

from engine.driver.label_run import LabelRun
from engine.ledger.attempts import list_attempts
from engine.ledger.commits import read_commit
from engine.ledger.fingerprint import describe_changes
from engine.ledger.shard_facts import has_facts
from engine.ledger.snapshots.segments import segment_keys
from engine.threads import map_parallel
from pipelines.label.plan.estimate import CostEstimate, format_estimate
from pipelines.label.resolved_job import ResolvedJob
from pipelines.label.run_records import PlanRecord
from schemas.ledger import Unit
from schemas.records import Record

NEVER = "not labelled yet"  # a key of the JSON; text has the spelling below
NEVER_AS_TEXT = "not labeled yet"
MAX_UNITS_WITH_ATTEMPTS = 1000  # attempts are counted only for plans with at most this many units to do
UNREAD = "the shard is to be read first"
CHANGED = "the shard changed since it was read, so it is to be read first"
MAX_SHARDS_WITH_HISTORY = (
    1000  # unread shards are compared with earlier versions only if there are at most this many
)


class PlannedShard(Record):
    """One shard of a plan. `units` is None until this version of the shard was read."""

    url: str
    size_bytes: int | None
    samples: int | None = None
    units: int | None = None
    done: int = 0
    samples_done: int = 0
    why: dict[str, int] = {}
    problem: str | None = None


class PlanReport(Record):
    """The state of a plan, from sizes, versions and records alone."""

    job: str
    output: str
    teacher: str = Field(description="digest")
    phrases: str = Field(description="digest of the phrase pipeline")
    decoys: str | None = Field(None, description="digest of the pool of decoys and its rules")
    shards: tuple[PlannedShard, ...]
    plan: PlanRecord = Field(description="the frozen plan, which `label --plan` runs")
    selection: dict[str, Any] | None = Field(None, description="of input.only: digest, keys, shards left out")
    estimate: dict[str, Any] = {}

    @property
    def has_work(self) -> bool:
        """Whether `label` would do anything."""
        return any(shard.problem or shard.units is None or shard.done < shard.units for shard in self.shards)

    def data(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {
            "job": self.job,
            "output": self.output,
            "teacher": self.teacher,
            "phrases": self.phrases,
            "decoys": self.decoys,
            "has_work": self.has_work,
            "totals": self.totals(),
            "why": self.reasons(),
            "selection": self.selection,
            "estimate": self.estimate,
            "shards": [shard.model_dump() for shard in self.shards],
        }

    def file(self) -> dict[str, Any]:
        """Return what `plan -o` writes: the report, and the frozen plan for `label --plan`."""
        frozen = self.plan.model_dump(mode="json")
        return {**self.data(), "plan_digest": self.plan.digest(), "plan": frozen}

    def totals(self) -> dict[str, int]:
        """Return sums over the shards. A shard not read yet counts as one unit."""
        known = [shard for shard in self.shards if shard.units is not None]
        return {
            "shards": len(self.shards),
            "shards_missing": sum(shard.problem is not None for shard in self.shards),
            "shards_unread": sum(shard.units is None and shard.problem is None for shard in self.shards),
            "size_bytes": sum(shard.size_bytes or 0 for shard in self.shards),
            "units_known": sum(shard.units or 0 for shard in known),
            "units_done": sum(shard.done for shard in known),
            "units_to_do": sum((shard.units or 0) - shard.done for shard in known),
            "samples_known": sum(shard.samples or 0 for shard in known),
            "samples_to_do": sum((shard.samples or 0) - shard.samples_done for shard in known),
        }

    def reasons(self) -> dict[str, int]:
        """Count the units to do by reason."""
        sums: Counter[str] = Counter()
        for shard in self.shards:
            sums.update(shard.why)
        return dict(sorted(sums.items()))

    def text(self) -> str:
        """Format the report for people."""
        sums = self.totals()
        lines = [
            f"{sums['shards']} shards, {sums['size_bytes'] / 2**20:.1f} MiB",
            f"{sums['units_done']} units done, {sums['units_to_do']} to do ({sums['samples_to_do']} samples), "
            f"{sums['shards_unread']} shards not read yet",
        ]
        lines += [
            f"  {count} units: {NEVER_AS_TEXT if reason == NEVER else reason}"
            for reason, count in self.reasons().items()
        ]
        lines += [f"  {shard.url}: {shard.problem}" for shard in self.shards if shard.problem]
        if self.selection is not None:
            left_out = self.selection["shards_left_out"]
            lines.append(
                f"{self.selection['keys']} keys are selected; {left_out} shards contain none of them"
            )
        if self.has_work and self.estimate:
            lines += format_estimate(cast(CostEstimate, self.estimate))
        return "\n".join(lines)

    def samples_per_byte(self) -> float | None:
        """Return the mean over the shards whose number of samples is known; None without one."""
        known = [shard for shard in self.shards if shard.samples]
        size = sum(shard.size_bytes or 0 for shard in known)
        return sum(shard.samples or 0 for shard in known) / size if size else None

    def bytes_unread(self) -> int:
        """Return the total size of the shards whose number of samples is not known yet."""
        return sum(s.size_bytes or 0 for s in self.shards if s.units is None and s.problem is None)

    def bytes_to_read(self) -> int:
        """Return the total size of the shards with work to do."""
        return sum(s.size_bytes or 0 for s in self.shards if s.units is None or s.done < s.units)


def build_report(work: LabelRun, resolved: ResolvedJob) -> PlanReport:
    """Build the report from a run that has begun and knows what was committed before."""
    todo = work.list_pending()
    before = _read_fingerprints(work, todo)
    has_attempts = work.latest is not None and len(todo) <= MAX_UNITS_WITH_ATTEMPTS
    found = map_parallel(lambda unit: _explain(work, unit, before.get(unit.name), has_attempts), todo)
    reasons = dict(zip((unit.name for unit in todo), found, strict=True))
    problems = {fate.shard: f"{fate.code}: {fate.detail}" for fate in work.failed.values()}
    sizes = {stat.url: stat.size_bytes for stat in resolved.stats}
    changed = _find_changed(work, problems)
    selection = resolved.selection_totals()
    return PlanReport(
        job=work.plan.job_digest,
        output=work.store.url,
        teacher=resolved.spec.labeler.digest,
        phrases=resolved.spec.finder.digest,
        decoys=resolved.plan.method.decoys if resolved.decoys else None,
        shards=tuple(
            _plan_shard(
                work,
                url,
                sizes.get(url),
                reasons,
                if_unread=CHANGED if url in changed else UNREAD,
                problem=problems.get(url),
            )
            for url in work.plan.shards
        ),
        plan=resolved.plan_record(),
        selection=None if selection is None else {**selection},
    )


def _find_changed(work: LabelRun, problems: Collection[str]) -> set[str]:
    """Return the unread shards of which an earlier run read another version."""
    unread = [url for url in work.plan.shards if not work.plan.is_split(url) and url not in problems]
    if work.latest is None or len(unread) > MAX_SHARDS_WITH_HISTORY:
        return set()
    known = map_parallel(lambda url: has_facts(work.store, url), unread)
    return {url for url, is_known in zip(unread, known, strict=True) if is_known}


def _plan_shard(
    work: LabelRun,
    url: str,
    size_bytes: int | None,
    reasons: dict[str, str],
    *,
    if_unread: str,
    problem: str | None,
) -> PlannedShard:
    if not work.plan.is_split(url):
        why = {} if problem else {if_unread: 1}
        return PlannedShard(url=url, size_bytes=size_bytes, why=why, problem=problem)
    units = list(work.plan.units_of(url))
    done = [unit for unit in units if unit.name not in reasons]
    return PlannedShard(
        url=url,
        size_bytes=size_bytes,
        samples=sum(unit.count for unit in units),
        units=len(units),
        done=len(done),
        samples_done=sum(unit.count for unit in done),
        why=dict(sorted(Counter(reasons[unit.name] for unit in units if unit.name in reasons).items())),
    )


def _read_fingerprints(work: LabelRun, todo: Iterable[Unit]) -> dict[str, str]:
    """Return the fingerprint under which the newest snapshot has each unit that must be done under another."""
    names = {unit.name for unit in todo}
    segments = work.latest.segments if work.latest and names else ()
    return {
        unit: fingerprint
        for segment in segments
        for _, unit, fingerprint in segment_keys(work.store, segment)
        if unit in names
    }


def _explain(work: LabelRun, unit: Unit, before: str | None, has_attempts: bool) -> str:
    """Say why a unit is to do. before: fingerprint under which it is done; has_attempts: whether to count attempts."""
    record = read_commit(work.store, unit.name, before) if before else None
    if record is not None:
        return ", ".join(describe_changes(record.parts, work.plan.parts(unit)))
    attempts = list_attempts(work.store, unit.name, work.plan.fingerprint(unit)) if has_attempts else ()
    return f"begun and not finished, attempts: {len(attempts)}" if attempts else NEVER
