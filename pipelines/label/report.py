"""What `plan` says: the shards, the units that are done, the units to do and why."""

from __future__ import annotations

from typing import Any

from engine.ledger.commits import read_commit
from engine.ledger.fingerprint import changes
from engine.ledger.snapshots import latest_snapshot
from engine.work.labelling import Labelling, in_parallel
from schemas.errors import NotFound
from schemas.ledger import SnapshotEntry, Unit
from schemas.records import Record

NEVER = "not labelled yet"


class PlannedShard(Record):
    """One shard of a plan. `units` is None while the shard was not read in this version."""

    url: str
    size_bytes: int | None
    units: int | None = None
    done: int = 0
    why: dict[str, int] = {}
    problem: str | None = None


class PlanReport(Record):
    """A plan as it stands: nothing is read but sizes, versions and records."""

    job: str
    output: str
    shards: tuple[PlannedShard, ...]

    @property
    def has_work(self) -> bool:
        """Whether `label` would do anything."""
        return any(shard.problem or shard.units is None or shard.done < shard.units for shard in self.shards)

    def data(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "job": self.job,
            "output": self.output,
            "shards": [shard.model_dump() for shard in self.shards],
            "totals": self.totals(),
        }

    def totals(self) -> dict[str, int]:
        """Sums over the shards; a shard not read yet counts as one unit."""
        known = [shard for shard in self.shards if shard.units is not None]
        return {
            "shards": len(self.shards),
            "shards_missing": sum(shard.problem is not None for shard in self.shards),
            "shards_unread": sum(shard.units is None and shard.problem is None for shard in self.shards),
            "size_bytes": sum(shard.size_bytes or 0 for shard in self.shards),
            "units_known": sum(shard.units or 0 for shard in known),
            "units_done": sum(shard.done for shard in known),
            "units_to_do": sum((shard.units or 0) - shard.done for shard in known),
        }

    def text(self) -> str:
        """The report for a person."""
        sums = self.totals()
        lines = [
            f"{sums['shards']} shards, {sums['size_bytes'] / 2**20:.1f} MiB",
            f"{sums['units_done']} units done, {sums['units_to_do']} to do, "
            f"{sums['shards_unread']} shards still to be read",
        ]
        reasons: dict[str, int] = {}
        for shard in self.shards:
            for reason, count in shard.why.items():
                reasons[reason] = reasons.get(reason, 0) + count
        lines += [f"  {count} units: {reason}" for reason, count in sorted(reasons.items())]
        lines += [f"  {shard.url}: {shard.problem}" for shard in self.shards if shard.problem]
        return "\n".join(lines)


def plan_report(work: Labelling, sizes: dict[str, int]) -> PlanReport:
    """The report of a run that has begun and looked at what was committed before."""
    before = _entries_before(work)
    todo = work.todo()
    reasons = dict(
        zip((unit.name for unit in todo), in_parallel(lambda unit: _why(work, unit, before), todo))
    )
    shards = [_shard(work, url, sizes.get(url), reasons) for url in work.plan.shards]
    return PlanReport(job=work.plan.job_digest, output=work.store.url, shards=tuple(shards))


def _shard(work: Labelling, url: str, size_bytes: int | None, reasons: dict[str, str]) -> PlannedShard:
    problem = next(
        (f"{fate.code}: {fate.detail}" for fate in work.failed.values() if fate.shard == url), None
    )
    if not work.plan.is_cut(url):
        why = {} if problem else {"the shard is to be read first": 1}
        return PlannedShard(url=url, size_bytes=size_bytes, why=why, problem=problem)
    units = [unit for unit in work.plan.units() if unit.shard == url]
    mine = [reasons[unit.name] for unit in units if unit.name in reasons]
    why = {reason: mine.count(reason) for reason in sorted(set(mine))}
    done = len(units) - len(mine)
    return PlannedShard(url=url, size_bytes=size_bytes, units=len(units), done=done, why=why)


def _entries_before(work: Labelling) -> dict[str, SnapshotEntry]:
    try:
        return {entry.unit: entry for entry in latest_snapshot(work.store).entries}
    except NotFound:
        return {}


def _why(work: Labelling, unit: Unit, before: dict[str, SnapshotEntry]) -> str:
    entry = before.get(unit.name)
    record = read_commit(work.store, entry.unit, entry.fingerprint) if entry else None
    if record is None:
        return NEVER
    return ", ".join(changes(record.parts, work.plan.parts(unit)))
