"""Draw the regions that an auditor reviews: seeded, stratified by score, each with a known probability.

The sample is a function of the view's regions, the seed and the arguments, not of row order, parts or machine. Every
region has a permanent pseudo-random number (a hash of seed and region), and a stratum gives those with the lowest. This
is simple random sampling without replacement, and two policies over the same evidence, sampled with one seed, share
most of their items (permanent random numbers, Ohlsson 1995).
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import struct
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from pipelines.audit.sample import AuditSample, SampledRegion, Stratum
from schemas.errors import ConfigError
from schemas.labeler import NO_SCORE
from schemas.records import Pixels
from schemas.rows import ViewRegionRow, ViewRow

MIN_PER_STRATUM = 5
BINS = 5
CELLS = 10_000
"""Quantile borders are read from a histogram of this many cells over [0, 1], so they are round to four digits."""
EVERYTHING = "all"
_ROW_FIELDS = frozenset({"unit", "shard", "index", "key", "image_sha256", "width", "height", "caption"})
_PHRASE_FIELDS = frozenset({"begin", "end", "text", "root"})

Groups = Mapping[str, Collection[str]]
"""Group name -> roots (head lemmas) that belong to it; a root of none goes to the group `other`."""


class _Candidate(NamedTuple):
    """A region that may be drawn. Heaps pop the smallest first element, so the number is negated."""

    negated_number: int
    item: str
    row: ViewRow
    region: ViewRegionRow


class _Manifest(Protocol):
    @property
    def digest(self) -> str: ...

    @property
    def provenance(self) -> Mapping[str, object]: ...


class SampledView(Protocol):
    """The part of `engine.views.View` that is needed."""

    @property
    def manifest(self) -> _Manifest: ...

    def rows(self) -> Iterator[ViewRow]: ...


def draw_sample(
    view: SampledView,
    *,
    seed: int,
    n: int,
    bins: int | None = None,
    edges: Sequence[float] | None = None,
    groups: Groups | None = None,
    source: str = "",
) -> AuditSample:
    """Draw a stratified sample of `n` regions, or of all if the view has fewer.

    bins:   score bins of about equal population, by default BINS; `edges` (inner borders, rising) fixes them instead
    groups: strata are groups x score bins, e.g. `{"head": [...], "tail": [...]}` by the phrase's root
    source: where the view was read, for the record
    The population is the positive regions of a teacher or student. Human boxes, ignored boxes and decoys are counted in
    `excluded`. Raises ConfigError for a view without any, for an `n` smaller than the number of strata, and for score
    bins of a view without scores, which is one bin.
    """
    borders = _choose_borders(view, bins, edges)
    excluded: Counter[str] = Counter()
    population: Counter[tuple[str, int]] = Counter()
    lowest: dict[tuple[str, int], list[_Candidate]] = defaultdict(list)
    for row, region, item in _iter_auditable(view, excluded):
        cell = (
            _find_group(row["phrases"][region["phrase"]]["root"], groups),
            bisect_right(borders, region["score"]),
        )
        population[cell] += 1
        _push_lowest(lowest[cell], n, _Candidate(-_random_number(seed, item), item, row, region))
    cells = sorted(population)
    numbers = allocate([population[cell] for cell in cells], n)
    strata = [
        _make_stratum(cell, borders, population[cell], drawn)
        for cell, drawn in zip(cells, numbers, strict=True)
    ]
    chosen = [
        _make_sampled_region(candidate, stratum)
        for cell, stratum in zip(cells, strata, strict=True)
        for candidate in sorted(lowest[cell], reverse=True)[: stratum.drawn]
    ]
    chosen.sort(key=lambda region: _random_number(seed, "order of " + region.item))
    return AuditSample(
        view=source,
        view_digest=view.manifest.digest,
        seed=seed,
        score_edges=borders,
        strata=tuple(strata),
        excluded=dict(sorted(excluded.items())),
        regions=tuple(chosen),
    ).seal()


def allocate(populations: Sequence[int], n: int) -> list[int]:
    """Return how many to draw of each stratum: at least five (or all), the rest in proportion, `n` in total.

    Raises ConfigError if there is nothing to draw from, or less than one item for each stratum.
    """
    total = sum(populations)
    if total == 0:
        raise ConfigError(
            "the view has no region of a teacher or student, so there is nothing to audit; choose another view"
        )
    if n < len(populations):
        raise ConfigError(
            f"n = {n} is less than the {len(populations)} strata: raise n, or use fewer bins or groups"
        )
    n = min(n, total)
    least = min(MIN_PER_STRATUM, n // len(populations))
    numbers = [min(population, least) for population in populations]
    while sum(numbers) < n:
        open_ones = [i for i, population in enumerate(populations) if numbers[i] < population]
        neediest = max(open_ones, key=lambda i: (n * populations[i] / total - numbers[i], -i))
        numbers[neediest] += 1
    return numbers


def _iter_auditable(
    view: SampledView, excluded: Counter[str] | None = None
) -> Iterator[tuple[ViewRow, ViewRegionRow, str]]:
    """Yield each region of the population with its row and its name."""
    for row in view.rows():
        twins: Counter[str] = Counter()
        for region in row["regions"]:
            reason = _exclusion_reason(row, region)
            if reason is None:
                name = _name_region(row, region)
                twins[name] += 1
                yield row, region, name if twins[name] == 1 else f"{name}.{twins[name]}"
            elif excluded is not None:
                excluded[reason] += 1


def _exclusion_reason(row: ViewRow, region: ViewRegionRow) -> str | None:
    if row["phrases"][region["phrase"]]["kind"] == "decoy":
        return "decoy"
    if region["origin"] in ("human", "human_confirmed"):
        return str(region["origin"])
    return None if region["fate"] == "positive" else str(region["fate"])


def _name_region(row: ViewRow, region: ViewRegionRow) -> str:
    place = f"{row['unit']}/{row['index']}/{region['phrase']}/".encode()
    box = struct.pack("<4f", region["x0"], region["y0"], region["x1"], region["y1"])
    return hashlib.sha256(place + box).hexdigest()[:24]


def _random_number(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big")


def _push_lowest(heap: list[_Candidate], n: int, candidate: _Candidate) -> None:
    """Keep the `n` candidates with the lowest numbers in the heap."""
    if len(heap) == n and candidate.negated_number <= heap[0].negated_number:
        return
    # the other regions would fill the memory
    entry = candidate._replace(row={**candidate.row, "regions": []})
    if len(heap) < n:
        heapq.heappush(heap, entry)
    else:
        heapq.heappushpop(heap, entry)


def _make_sampled_region(candidate: _Candidate, stratum: Stratum) -> SampledRegion:
    row, region = candidate.row, candidate.region
    phrase = row["phrases"][region["phrase"]]
    return SampledRegion.model_validate(
        {
            "item": candidate.item,
            "stratum": stratum.name,
            "inclusion_probability": stratum.drawn / stratum.population,
            "pixels": Pixels(**row["pixels"]),
            "phrase": region["phrase"],
            "box": (region["x0"], region["y0"], region["x1"], region["y1"]),
            "score": region["score"],
            **{name: value for name, value in row.items() if name in _ROW_FIELDS},
            **{name: value for name, value in phrase.items() if name in _PHRASE_FIELDS},
        }
    )


def _find_group(root: str, groups: Groups | None) -> str:
    if groups is None:
        return EVERYTHING
    return next((name for name, roots in groups.items() if root in roots), "other")


def _make_stratum(cell: tuple[str, int], borders: Sequence[float], population: int, drawn: int) -> Stratum:
    group, bin_ = cell
    low, high = list(itertools.pairwise((0.0, *borders, 1.0)))[bin_]
    name = f"{low:.4g}-{high:.4g}" if group == EVERYTHING else f"{group} {low:.4g}-{high:.4g}"
    return Stratum(name=name, group=group, low=low, high=high, population=population, drawn=drawn)


def _choose_borders(view: SampledView, bins: int | None, edges: Sequence[float] | None) -> tuple[float, ...]:
    if view.manifest.provenance.get("score_kind") == NO_SCORE:
        asked = f"edges = {list(edges)}" if edges else f"bins = {bins}" if bins not in (None, 1) else None
        if asked:
            raise ConfigError(
                f"{asked}: the view's regions have no scores (score_kind {NO_SCORE}), so there are no score strata; "
                "leave it out"
            )
        return ()
    if edges is not None:
        return tuple(_check_edges(edges))
    return _find_quantile_edges(view, BINS if bins is None else bins)


def _check_edges(edges: Sequence[float]) -> Sequence[float]:
    if list(edges) != sorted(set(edges)) or any(not 0 < edge < 1 for edge in edges):
        raise ConfigError(f"score edges {list(edges)} must ascend, and be greater than 0 and less than 1")
    return edges


def _find_quantile_edges(view: SampledView, bins: int) -> tuple[float, ...]:
    """Return borders that cut the scores into about equal shares; fewer if one score fills several."""
    if bins < 1:
        raise ConfigError(f"bins = {bins}: at least 1 score bin is needed")
    counts = np.zeros(CELLS, dtype=np.int64)
    for _, region, _ in _iter_auditable(view):
        counts[min(max(int(region["score"] * CELLS), 0), CELLS - 1)] += 1
    cumulative = np.cumsum(counts)
    wanted = cumulative[-1] * np.arange(1, bins) / bins
    borders = {int(np.searchsorted(cumulative, share, side="left")) + 1 for share in wanted}
    return tuple(border / CELLS for border in sorted(borders) if border < CELLS)
