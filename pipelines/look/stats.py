"""Counts and distributions of an evidence, a view or gold: as JSON, and as tables of text.

Its promise: the numbers are over all rows, never over a sample of them, and add up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from pydantic import Field

from engine.settings import StorageSettings
from pipelines.compile.report import SCORE_BINS, score_bin, score_names
from pipelines.look.source import open_labels
from pipelines.look.tables import Report, Table, bars, share
from schemas.records import Record

SMALL_PX2, MEDIUM_PX2 = 32**2, 96**2  # COCO's limits of small and medium objects
_COUNT_BINS = ((0, "0"), (1, "1"), (2, "2"), (3, "3"), (5, "4-5"), (10, "6-10"), (20, "11-20"), (50, "21-50"))

Progress = Callable[[str, int, int], None]


class HeadNumbers(Record):
    """One head noun: how often it was asked for, found, and with how many regions."""

    root: str
    phrases: int
    with_region: int
    regions: int
    mean_score: float | None


class StatsReport(Report):
    """Everything `stats` says."""

    kind: str
    digest: str
    samples: int
    samples_with_region: int
    regions: int
    regions_per_sample: dict[str, int] = Field(description="samples by their number of regions")
    phrases: int
    phrases_with_region: int
    phrase_kinds: dict[str, int]
    phrase_fates: dict[str, int] = Field(description="positive, unresolved, absent; empty for evidence")
    region_fates: dict[str, int] = Field({}, description="positive, class_only, ignore; empty for evidence")
    truncated_phrases: int = Field(description="phrases whose regions the evidence cap cut")
    dropped_phrases: dict[str, int] = Field(description="phrases not asked for, by reason code")
    distinct_roots: int
    top_roots: tuple[HeadNumbers, ...]
    score_histogram: tuple[int, ...] = Field(description="regions per bin of raw score, equal bins over 0..1")
    box_sizes: dict[str, int] = Field(description="small below 32^2 px, medium below 96^2 px, else large")
    rejected: dict[str, int] = Field(description="samples by reason code; evidence only")

    def tables(self) -> list[Table]:
        """The report as tables, in reading order."""
        per_sample = self.regions / self.samples if self.samples else 0.0
        summary = [
            ("samples", f"{self.samples}"),
            ("samples with a region", share(self.samples_with_region, self.samples)),
            ("regions", f"{self.regions} ({per_sample:.2f} per sample)"),
            ("phrases", f"{self.phrases}"),
            ("phrases with a region", share(self.phrases_with_region, self.phrases)),
            ("phrases cut by the evidence cap", f"{self.truncated_phrases}"),
            ("distinct head nouns", f"{self.distinct_roots}"),
        ]
        scores = dict(zip(score_names(), self.score_histogram, strict=True))
        return [
            Table(f"{self.kind} {self.digest}", ("what", "number"), summary),
            bars("regions per sample", "regions", "samples", self.regions_per_sample),
            bars("raw score", "score", "regions", scores),
            bars("box size", "size", "regions", self.box_sizes),
            self._heads(),
            bars("phrases by kind", "kind", "phrases", self.phrase_kinds),
            bars("phrases by fate", "fate", "phrases", self.phrase_fates),
            bars("regions by fate", "fate", "regions", self.region_fates),
            bars("phrases not asked for", "code", "phrases", self.dropped_phrases),
            bars("rejected samples", "code", "samples", self.rejected),
        ]

    def _heads(self) -> Table:
        rows = [
            (h.root, str(h.phrases), str(h.with_region), str(h.regions), _two(h.mean_score))
            for h in self.top_roots
        ]
        return Table("head nouns", ("head", "phrases", "with region", "regions", "mean score"), rows)


def statistics_of(
    url: str, *, top: int = 20, storage: StorageSettings | None = None, progress: Progress | None = None
) -> StatsReport:
    """Numbers of the labels at `url`, with the `top` most frequent head nouns. Raises NotFound."""
    labels = open_labels(url, storage)
    counts = _Counts()
    for done, row in enumerate(labels.rows(), start=1):
        counts.add(row)
        if progress:
            progress("samples", done, 0)
    rejected = Counter(row["code"] for row in labels.rejected())
    return counts.report(labels.kind, labels.digest, rejected, top)


class _Counts:
    """Sums over rows."""

    def __init__(self) -> None:
        self.per_sample: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.fates: Counter[str] = Counter()
        self.region_fates: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.scores: Counter[int] = Counter()
        self.sizes: Counter[str] = Counter()
        self.roots: dict[str, Counter[str]] = {}
        self.score_sums: Counter[str] = Counter()  # by root, of floats
        self.truncated = 0
        self.with_region = 0

    def add(self, row: dict[str, Any]) -> None:
        regions, phrases = row["regions"], row["phrases"]
        self.per_sample[_count_bin(len(regions))] += 1
        self.dropped.update(phrase["code"] for phrase in row["dropped_phrases"] or ())
        found = {region["phrase"] for region in regions}
        for number, phrase in enumerate(phrases):
            self.kinds[phrase["kind"]] += 1
            self.truncated += phrase["truncated"]
            if "fate" in phrase:
                self.fates[phrase["fate"]] += 1
            self.roots.setdefault(phrase["root"], Counter()).update(
                phrases=1, with_region=int(number in found)
            )
        self.with_region += bool(regions)
        for region in regions:
            root = phrases[region["phrase"]]["root"]
            self.roots[root]["regions"] += 1
            self.score_sums[root] += region["score"]
            self.scores[score_bin(region["score"])] += 1
            self.sizes[_size(region)] += 1
            if "fate" in region:
                self.region_fates[region["fate"]] += 1

    def report(self, kind: str, digest: str, rejected: Counter[str], top: int) -> StatsReport:
        regions = self.scores.total()
        names = [name for _, name in _COUNT_BINS] + ["51+"]
        return StatsReport(
            kind=kind,
            digest=digest,
            samples=self.per_sample.total(),
            samples_with_region=self.with_region,
            regions=regions,
            regions_per_sample={name: self.per_sample[name] for name in names if self.per_sample[name]},
            phrases=self.kinds.total(),
            phrases_with_region=sum(root["with_region"] for root in self.roots.values()),
            phrase_kinds=_by_number(self.kinds),
            region_fates=_by_number(self.region_fates),
            phrase_fates=_by_number(self.fates),
            truncated_phrases=self.truncated,
            dropped_phrases=_by_number(self.dropped),
            distinct_roots=len(self.roots),
            top_roots=tuple(self._head(root) for root in self._top(top)),
            score_histogram=tuple(self.scores[number] for number in range(SCORE_BINS)),
            box_sizes={size: self.sizes[size] for size in ("small", "medium", "large") if regions},
            rejected=_by_number(rejected),
        )

    def _top(self, top: int) -> list[str]:
        return sorted(self.roots, key=lambda root: (-self.roots[root]["phrases"], root))[:top]

    def _head(self, root: str) -> HeadNumbers:
        counts = self.roots[root]
        mean = self.score_sums[root] / counts["regions"] if counts["regions"] else None
        numbers = {name: counts[name] for name in ("phrases", "with_region", "regions")}
        return HeadNumbers(root=root, mean_score=mean, **numbers)


def _size(region: dict[str, Any]) -> str:
    area = (region["x1"] - region["x0"]) * (region["y1"] - region["y0"])
    return "small" if area < SMALL_PX2 else "medium" if area < MEDIUM_PX2 else "large"


def _count_bin(number: int) -> str:
    return next((name for most, name in _COUNT_BINS if number <= most), "51+")


def _by_number(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
