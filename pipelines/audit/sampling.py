"""Draws the regions an auditor reviews: seeded, stratified by score, each with its known chance of being drawn.

Its promise: the sample is a function of the view's regions, the seed and the arguments, never of row order, parts or
machine. Every region has a permanent pseudo-random number (a hash of seed and region), and a stratum gives those with
the lowest: simple random sampling without replacement, and two policies over the same evidence, sampled under one
seed, share most of their items (permanent random numbers, Ohlsson 1995).
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import struct
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from pipelines.audit.sample import AuditSample, SampledRegion, Stratum
from schemas.errors import ConfigError
from schemas.records import Pixels

LEAST_PER_STRATUM = 5
CELLS = 10_000
"""Quantile borders are read from a histogram of this many cells over [0, 1], so they are round to four digits."""
EVERYTHING = "all"

Groups = Mapping[str, Collection[str]]
"""Group name -> roots (head lemmas) that belong to it; a root of none goes to the group `other`."""

_Candidate = tuple[int, str, dict[str, Any]]
"""The negated number (heaps pop the smallest), the region's name, its row and itself."""


class _Manifest(Protocol):
    @property
    def digest(self) -> str: ...


class SampledView(Protocol):
    """What is needed of `engine.views.View`."""

    @property
    def manifest(self) -> _Manifest: ...

    def rows(self) -> Iterator[dict[str, Any]]: ...


def draw_sample(
    view: SampledView,
    *,
    seed: int,
    n: int,
    bins: int = 5,
    edges: Sequence[float] | None = None,
    groups: Groups | None = None,
    source: str = "",
) -> AuditSample:
    """A stratified sample of `n` regions, or of all where the view has fewer.

    bins:   score bins of about equal population; `edges` (inner borders, rising) fixes them instead
    groups: strata are groups x score bins, e.g. `{"head": [...], "tail": [...]}` by the phrase's root
    source: where the view was read, for the record

    The population is the positive regions that a teacher or student gave; human boxes, ignored boxes and decoys are
    counted in `excluded`. Raises ConfigError for a view without any, or an `n` smaller than the number of strata.
    """
    borders = tuple(_checked(edges)) if edges is not None else _quantile_edges(view, bins)
    excluded: Counter[str] = Counter()
    population: Counter[tuple[str, int]] = Counter()
    lowest: dict[tuple[str, int], list[_Candidate]] = defaultdict(list)
    for row, region, item in _auditable(view, excluded):
        cell = (
            _group_of(row["phrases"][region["phrase"]]["root"], groups),
            bisect_right(borders, region["score"]),
        )
        population[cell] += 1
        _keep_lowest(lowest[cell], n, _number(seed, item), item, row, region)
    cells = sorted(population)
    given = allocate([population[cell] for cell in cells], n)
    strata = [
        _stratum(cell, borders, population[cell], drawn) for cell, drawn in zip(cells, given, strict=True)
    ]
    chosen = [
        (item, _sampled(item, stratum, what))
        for cell, stratum in zip(cells, strata, strict=True)
        for _, item, what in sorted(lowest[cell], key=lambda kept: -kept[0])[: stratum.drawn]
    ]
    chosen.sort(key=lambda pair: _number(seed, "order of " + pair[0]))
    return AuditSample(
        view=source,
        view_digest=view.manifest.digest,
        seed=seed,
        score_edges=borders,
        strata=tuple(strata),
        excluded=dict(sorted(excluded.items())),
        regions=tuple(region for _, region in chosen),
    ).sealed()


def allocate(populations: Sequence[int], n: int) -> list[int]:
    """How many to draw of each stratum: at least five (or all) of each, the rest in proportion, `n` in total.

    Raises ConfigError when there is nothing to draw from, or less than one item for each stratum.
    """
    total = sum(populations)
    if total == 0:
        raise ConfigError(
            "the view holds no region that a teacher or student gave: there is nothing to audit"
        )
    if n < len(populations):
        raise ConfigError(
            f"n = {n} is less than the {len(populations)} strata: raise n, or use fewer bins or groups"
        )
    n = min(n, total)
    least = min(LEAST_PER_STRATUM, n // len(populations))
    given = [min(population, least) for population in populations]
    while sum(given) < n:
        open_ones = [i for i, population in enumerate(populations) if given[i] < population]
        neediest = max(open_ones, key=lambda i: (n * populations[i] / total - given[i], -i))
        given[neediest] += 1
    return given


def _auditable(
    view: SampledView, excluded: Counter[str] | None = None
) -> Iterator[tuple[dict[str, Any], dict[str, Any], str]]:
    """Each region of the population with its row and its name."""
    for row in view.rows():
        twins: Counter[str] = Counter()
        for region in row["regions"]:
            reason = _why_not(row, region)
            if reason is None:
                name = _name(row, region)
                twins[name] += 1
                yield row, region, name if twins[name] == 1 else f"{name}.{twins[name]}"
            elif excluded is not None:
                excluded[reason] += 1


def _why_not(row: dict[str, Any], region: dict[str, Any]) -> str | None:
    if row["phrases"][region["phrase"]]["kind"] == "decoy":
        return "decoy"
    if region["origin"] in ("human", "human_confirmed"):
        return str(region["origin"])
    return None if region["fate"] == "positive" else str(region["fate"])


def _name(row: dict[str, Any], region: dict[str, Any]) -> str:
    place = f"{row['unit']}/{row['index']}/{region['phrase']}/".encode()
    box = struct.pack("<4f", region["x0"], region["y0"], region["x1"], region["y1"])
    return hashlib.sha256(place + box).hexdigest()[:24]


def _number(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big")


def _keep_lowest(
    heap: list[tuple[int, str, dict[str, Any]]],
    n: int,
    number: int,
    item: str,
    row: dict[str, Any],
    region: dict[str, Any],
) -> None:
    if len(heap) == n and -number <= heap[0][0]:
        return
    entry = (-number, item, {"row": {name: row[name] for name in _ROW_FIELDS}, "region": region})
    if len(heap) < n:
        heapq.heappush(heap, entry)
    else:
        heapq.heappushpop(heap, entry)


_ROW_FIELDS = [
    "unit",
    "shard",
    "index",
    "key",
    "pixels",
    "image_sha256",
    "width",
    "height",
    "caption",
    "phrases",
]


def _sampled(item: str, stratum: Stratum, what: dict[str, Any]) -> SampledRegion:
    row, region = what["row"], what["region"]
    phrase = row["phrases"][region["phrase"]]
    return SampledRegion(
        item=item,
        stratum=stratum.name,
        inclusion_probability=stratum.drawn / stratum.population,
        pixels=Pixels(**row["pixels"]),
        phrase=region["phrase"],
        box=(region["x0"], region["y0"], region["x1"], region["y1"]),
        score=region["score"],
        **{name: row[name] for name in _ROW_FIELDS if name not in ("pixels", "phrases")},
        **{name: phrase[name] for name in ("begin", "end", "text", "root")},
    )


def _group_of(root: str, groups: Groups | None) -> str:
    if groups is None:
        return EVERYTHING
    return next((name for name, roots in groups.items() if root in roots), "other")


def _stratum(cell: tuple[str, int], borders: Sequence[float], population: int, drawn: int) -> Stratum:
    group, bin_ = cell
    low, high = list(itertools.pairwise((0.0, *borders, 1.0)))[bin_]
    name = f"{low:.4g}-{high:.4g}" if group == EVERYTHING else f"{group} {low:.4g}-{high:.4g}"
    return Stratum(name=name, group=group, low=low, high=high, population=population, drawn=drawn)


def _checked(edges: Sequence[float]) -> Sequence[float]:
    if list(edges) != sorted(set(edges)) or any(not 0 < edge < 1 for edge in edges):
        raise ConfigError(f"score edges {list(edges)} must rise and lie between 0 and 1, both excluded")
    return edges


def _quantile_edges(view: SampledView, bins: int) -> tuple[float, ...]:
    """Borders that cut the scores into about equal shares; fewer where one score fills several."""
    if bins < 1:
        raise ConfigError(f"bins = {bins}: at least 1 score bin is needed")
    counts = np.zeros(CELLS, dtype=np.int64)
    for _, region, _ in _auditable(view):
        counts[min(max(int(region["score"] * CELLS), 0), CELLS - 1)] += 1
    cumulative = np.cumsum(counts)
    wanted = cumulative[-1] * np.arange(1, bins) / bins
    borders = {int(np.searchsorted(cumulative, share, side="left")) + 1 for share in wanted}
    return tuple(border / CELLS for border in sorted(borders) if border < CELLS)
