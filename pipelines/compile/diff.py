"""Differences between two views of the same evidence: samples, regions, fates, weights, and the policy's fields.

Each region of either view is counted once, and memory has one row of each view. Views are in unit and index order, so
they are read in parallel. A region is identified by its phrase, raw score and prompt, because a policy may move boxes
(merging) but never changes those.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from engine.settings import StorageSettings
from engine.views import View, open_view
from pipelines.compile.policy import Policy
from pipelines.report_base import Report, Table, bars
from schemas.rows import ViewRegionRow, ViewRow

_Identity = tuple[int, float, float | None, float | None, int]
_SIDES: tuple[Literal["x0", "y0", "x1", "y1"], ...] = ("x0", "y0", "x1", "y1")
_BELIEFS: tuple[Literal["weight", "p_correct", "q_value", "origin"], ...] = (
    "weight",
    "p_correct",
    "q_value",
    "origin",
)
SAME, ONLY_FIRST, ONLY_SECOND = "same", "only_first", "only_second"


class ViewDiff(Report):
    """The comparison of two views. Every count is of regions, samples or phrases of both together."""

    first: str = Field(description="digest of the first view's rows")
    second: str
    equal: bool = Field(description="the rows are the same, whatever the policies say")
    policy: dict[str, tuple[object, object]] = Field(description="fields that differ, first and second value")
    samples: dict[str, int] = Field(description="only_first, only_second, same, changed")
    regions: dict[str, int] = Field(
        description="only_first, only_second, same, and what changed of the others: fate a -> b, weight, box, p_correct"
    )
    phrases: dict[str, int] = Field(description="of samples in both: same, or fate a -> b")
    alone: dict[str, dict[str, int]] = Field(
        {}, description="the regions of only_first and only_second by fate: those to ignore are not labels"
    )

    def tables(self) -> list[Table]:
        """Return the report as tables, in reading order."""
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
    """Compare two views or golds row by row. Raises NotFoundError without one, ConflictError for a damaged one."""
    first, second = open_view(first_url, storage), open_view(second_url, storage)
    samples: Counter[str] = Counter()
    regions: Counter[str] = Counter()
    phrases: Counter[str] = Counter()
    alone: dict[str, Counter[str]] = {ONLY_FIRST: Counter(), ONLY_SECOND: Counter()}
    for one, other in _pair_rows(first, second):
        if one is None or other is None:
            which = ONLY_FIRST if other is None else ONLY_SECOND
            samples[which] += 1
            alone[which].update(region["fate"] for row in (one, other) if row for region in row["regions"])
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
        samples=_sort(samples),
        regions=_sort(regions),
        phrases=_sort(phrases),
        alone={which: _sort(fates) for which, fates in alone.items() if fates},
    )


def _pair_rows(first: View, second: View) -> Iterator[tuple[ViewRow | None, ViewRow | None]]:
    """Yield rows of equal unit and index together, the others alone, in order."""
    ones, others = first.rows(), second.rows()
    one, other = next(ones, None), next(others, None)
    while one is not None or other is not None:
        if other is None or (one is not None and _position(one) < _position(other)):
            yield one, None
            one = next(ones, None)
        elif one is None or _position(other) < _position(one):
            yield None, other
            other = next(others, None)
        else:
            yield one, other
            one, other = next(ones, None), next(others, None)


def _position(row: ViewRow) -> tuple[str, int]:
    return row["unit"], row["index"]


def _region_changes(one: ViewRow, other: ViewRow, alone: dict[str, Counter[str]]) -> Iterator[str]:
    """Yield one word for each region that both rows have. Count the others in `alone`, by fate.

    Equal regions are paired in order.
    """
    waiting: dict[_Identity, list[ViewRegionRow]] = defaultdict(list)
    for region in other["regions"]:
        waiting[_identify(region)].append(region)
    for region in one["regions"]:
        pair = waiting[_identify(region)]
        if pair:
            yield _change(region, pair.pop(0))
        else:
            alone[ONLY_FIRST][region["fate"]] += 1
    alone[ONLY_SECOND].update(region["fate"] for pair in waiting.values() for region in pair)


def _identify(region: ViewRegionRow) -> _Identity:
    return region["phrase"], region["score"], region["class_score"], region["quality"], region["pass_index"]


def _change(one: ViewRegionRow, other: ViewRegionRow) -> str:
    """Name the first difference, in the order of its effect on a student."""
    if one["fate"] != other["fate"]:
        return f"{one['fate']} -> {other['fate']}"
    if any(one[side] != other[side] for side in _SIDES):
        return "box"
    changed = (name for name in _BELIEFS if one[name] != other[name])
    return next(changed, SAME)


def _phrase_changes(one: ViewRow, other: ViewRow) -> Iterator[str]:
    for a, b in zip(one["phrases"], other["phrases"]):
        yield SAME if a["fate"] == b["fate"] else f"{a['fate']} -> {b['fate']}"


def _policy_changes(first: View, second: View) -> dict[str, tuple[object, object]]:
    """Return the fields that differ. A field that a view's record omits has its legacy value. Gold has no policy."""
    a, b = (_load_policy(view) for view in (first, second))
    return {name: (a.get(name), b.get(name)) for name in sorted(a | b) if a.get(name) != b.get(name)}


def _load_policy(view: View) -> dict[str, object]:
    policy = view.manifest.provenance.get("policy")
    return {**Policy.legacy_values(), **policy} if policy else {}


def _sort(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))
