"""What changed between two views of the same evidence: samples, regions, fates, weights, and the policy's fields.

Its promise: each region of either view is counted once, and memory holds one row of each view. Views stand in unit and
index order, so they are walked side by side. A region is known by its phrase, raw score and prompt: a policy moves
boxes (merging), never those.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from engine.settings import StorageSettings
from engine.views import View, open_view
from pipelines.compile.policy import Policy
from pipelines.labels.tables import Report, Table, bars

Row = dict[str, Any]
SAME, ONLY_FIRST, ONLY_SECOND = "same", "only_first", "only_second"


class ViewDiff(Report):
    """Two views side by side; every count is of regions, samples or phrases of both together."""

    first: str = Field(description="digest of the first view's rows")
    second: str
    equal: bool = Field(description="the rows are the same, whatever the policies say")
    policy: dict[str, tuple[Any, Any]] = Field(description="fields that differ, first and second value")
    samples: dict[str, int] = Field(description="only_first, only_second, same, changed")
    regions: dict[str, int] = Field(
        description="only_first, only_second, same, and what changed of the others: fate a -> b, weight, box, p_correct"
    )
    phrases: dict[str, int] = Field(description="of samples in both: same, or fate a -> b")
    alone: dict[str, dict[str, int]] = Field(
        {}, description="the regions of only_first and only_second by fate: those to ignore are no labels"
    )

    def tables(self) -> list[Table]:
        """The report as tables, in reading order."""
        fields = [(name, str(a), str(b)) for name, (a, b) in self.policy.items()]
        return [
            Table("views", ("which", "digest"), [("first", self.first), ("second", self.second)]),
            Table("policy", ("field", "first", "second"), fields),
            bars("samples", "what", "samples", self.samples),
            bars("regions", "what", "regions", self.regions),
            bars("regions of one view alone, by fate", "where and fate", "regions", self._alone()),
            bars("phrases of samples in both", "what", "phrases", self.phrases),
        ]

    def _alone(self) -> dict[str, int]:
        found = (
            (where, fate, number) for where, fates in self.alone.items() for fate, number in fates.items()
        )
        return {f"{where}: {fate}": number for where, fate, number in found}


def diff_views(first_url: str, second_url: str, *, storage: StorageSettings | None = None) -> ViewDiff:
    """Compare two views or golds row by row. Raises NotFoundError without one, ConflictError where one is damaged."""
    first, second = open_view(first_url, storage), open_view(second_url, storage)
    samples: Counter[str] = Counter()
    regions: Counter[str] = Counter()
    phrases: Counter[str] = Counter()
    alone: dict[str, Counter[str]] = {ONLY_FIRST: Counter(), ONLY_SECOND: Counter()}
    for one, other in _side_by_side(first, second):
        if one is None or other is None:
            which = ONLY_FIRST if other is None else ONLY_SECOND
            samples[which] += 1
            alone[which].update(region["fate"] for region in (one or other or {})["regions"])
            continue
        samples[SAME if one == other else "changed"] += 1
        regions.update(_region_changes(one, other, alone))
        phrases.update(_phrase_changes(one, other))
    regions.update({which: fates.total() for which, fates in alone.items() if fates})
    return ViewDiff(
        first=first.manifest.digest,
        second=second.manifest.digest,
        equal=first.manifest.digest == second.manifest.digest,
        policy=_policy_changes(first, second),
        samples=_sorted(samples),
        regions=_sorted(regions),
        phrases=_sorted(phrases),
        alone={which: _sorted(fates) for which, fates in alone.items() if fates},
    )


def _side_by_side(first: View, second: View) -> Iterator[tuple[Row | None, Row | None]]:
    """Rows of equal unit and index together, the others alone, in order."""
    ones, others = first.rows(), second.rows()
    one, other = next(ones, None), next(others, None)
    while one is not None or other is not None:
        if other is None or (one is not None and _place(one) < _place(other)):
            yield one, None
            one = next(ones, None)
        elif one is None or _place(other) < _place(one):
            yield None, other
            other = next(others, None)
        else:
            yield one, other
            one, other = next(ones, None), next(others, None)


def _place(row: Row) -> tuple[str, int]:
    return row["unit"], row["index"]


def _region_changes(one: Row, other: Row, alone: dict[str, Counter[str]]) -> Iterator[str]:
    """One word for each region that both rows hold; the others are counted in `alone`, by fate.

    Equal regions are paired in order.
    """
    waiting: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for region in other["regions"]:
        waiting[_known_by(region)].append(region)
    for region in one["regions"]:
        pair = waiting[_known_by(region)]
        if pair:
            yield _change(region, pair.pop(0))
        else:
            alone[ONLY_FIRST][region["fate"]] += 1
    alone[ONLY_SECOND].update(region["fate"] for pair in waiting.values() for region in pair)


def _known_by(region: Row) -> tuple[Any, ...]:
    return tuple(region[name] for name in ("phrase", "score", "class_score", "quality", "pass_index"))


def _change(one: Row, other: Row) -> str:
    """The first thing that differs, by how much it matters to a student."""
    if one["fate"] != other["fate"]:
        return f"{one['fate']} -> {other['fate']}"
    if any(one[side] != other[side] for side in ("x0", "y0", "x1", "y1")):
        return "box"
    changed = (name for name in ("weight", "p_correct", "q_value", "origin") if one[name] != other[name])
    return next(changed, SAME)


def _phrase_changes(one: Row, other: Row) -> Iterator[str]:
    for a, b in zip(one["phrases"], other["phrases"]):
        yield SAME if a["fate"] == b["fate"] else f"{a['fate']} -> {b['fate']}"


def _policy_changes(first: View, second: View) -> dict[str, tuple[Any, Any]]:
    """Return the fields that differ; one that a view's record omits has its legacy value. Gold has no policy."""
    a, b = (_policy_of(view) for view in (first, second))
    return {name: (a.get(name), b.get(name)) for name in sorted(a | b) if a.get(name) != b.get(name)}


def _policy_of(view: View) -> dict[str, Any]:
    policy = view.manifest.provenance.get("policy")
    return {**Policy.legacy_values(), **policy} if policy else {}


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))
