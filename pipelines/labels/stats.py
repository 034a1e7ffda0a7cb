"""Counts and distributions of evidence, a view or gold, as JSON and as text tables.

The numbers are over all rows, never over a sample of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from pydantic import Field

from engine.settings import StorageSettings
from pipelines.labels.fates import CLASS_ONLY, LabelRow, is_kept
from pipelines.labels.open_any import open_labels
from pipelines.labels.score_bins import SCORE_BINS, bin_names, score_bin
from pipelines.quality.decoys import DecoyNumbers
from pipelines.report_base import Report, Table, bars, share
from schemas.progress import ProgressCallback
from schemas.records import Record
from schemas.rows import PhraseRow, RegionRow

SMALL_PX2, MEDIUM_PX2 = 32**2, 96**2  # COCO's limits of small and medium objects
_COUNT_BINS = ((0, "0"), (1, "1"), (2, "2"), (3, "3"), (5, "4-5"), (10, "6-10"), (20, "11-20"), (50, "21-50"))


class HeadNumbers(Record):
    """One head noun: how often it was asked for and found, and with how many regions."""

    root: str
    phrases: int
    with_region: int
    regions: int
    mean_score: float | None
    with_kept_region: int | None = Field(None, description="of a view: phrases with a kept region")
    kept: int | None = Field(None, description="of a view: regions that are not to be ignored")
    mean_kept_score: float | None = Field(None, description="of a view: over the kept regions")


class KeptNumbers(Record):
    """The kept regions of a view or gold, positive and class_only: all without those to ignore."""

    samples_with_region: int
    regions: int
    class_only: int = Field(description="of the kept regions")
    phrases_with_region: int
    regions_per_sample: dict[str, int] = Field(description="samples by their number of kept regions")
    score_histogram: tuple[int, ...]
    box_sizes: dict[str, int]


class StatsReport(Report):
    """The result of `stats`. Regions are all regions; `kept` has those that are not to be ignored."""

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
    kept: KeptNumbers | None = Field(None, description="of a view or gold; evidence has no fates")
    decoys: DecoyNumbers | None = Field(
        None,
        description="of an evidence, at its least score; other numbers leave decoys out, but for kinds and fates",
    )

    def tables(self) -> list[Table]:
        """Return the report as tables, in reading order. Those of a view are of its kept regions."""
        shown = self if self.kept is None else self.kept
        what = "" if self.kept is None else " of kept regions"
        scores = dict(zip(bin_names(), shown.score_histogram, strict=True))
        return [
            Table(f"{self.kind} {self.digest}", ("what", "number"), self._summary()),
            bars(
                "regions per sample" if not what else "kept regions per sample",
                "regions",
                "samples",
                shown.regions_per_sample,
            ),
            bars(f"raw score{what}", "score", "regions", scores),
            bars(f"box size{what}", "size", "regions", shown.box_sizes),
            self._heads_table(),
            *([self.decoys.table()] if self.decoys else []),
            bars("phrases by kind", "kind", "phrases", self.phrase_kinds),
            bars("phrases by fate", "fate", "phrases", self.phrase_fates),
            bars("regions by fate", "fate", "regions", self.region_fates),
            bars("phrases not asked for", "code", "phrases", self.dropped_phrases),
            bars("rejected samples", "code", "samples", self.rejected),
        ]

    def _summary(self) -> list[tuple[str, str]]:
        kept = self.kept
        shown = self if kept is None else kept
        label = "a region" if kept is None else "a kept region"
        per_sample = f"({shown.regions / self.samples if self.samples else 0.0:.2f} per sample)"
        counts = [("regions", f"{self.regions} {per_sample}")]
        if kept is not None:
            counts = [
                ("regions", f"{self.regions}"),
                ("regions kept", f"{share(kept.regions, self.regions)} {per_sample}"),
                ("regions kept, class only", share(kept.class_only, kept.regions)),
                ("regions to ignore", share(self.regions - kept.regions, self.regions)),
            ]
        return [
            ("samples", f"{self.samples}"),
            (f"samples with {label}", share(shown.samples_with_region, self.samples)),
            *counts,
            ("phrases", f"{self.phrases}"),
            (f"phrases with {label}", share(shown.phrases_with_region, self.phrases)),
            ("phrases cut by the evidence cap", f"{self.truncated_phrases}"),
            ("distinct head nouns", f"{self.distinct_roots}"),
        ]

    def _heads_table(self) -> Table:
        if self.kept is None:
            header: tuple[str, ...] = ("head", "phrases", "with region", "regions", "mean score")
            rows = [
                (h.root, str(h.phrases), str(h.with_region), str(h.regions), _format_mean(h.mean_score))
                for h in self.top_roots
            ]
            return Table("head nouns", header, rows)
        header = ("head", "phrases", "with kept region", "kept", "to ignore", "mean score of kept")
        return Table("head nouns", header, [self._format_view_head(head) for head in self.top_roots])

    def _format_view_head(self, head: HeadNumbers) -> tuple[str, ...]:
        kept = head.kept or 0
        numbers = (head.phrases, head.with_kept_region or 0, kept, head.regions - kept)
        return (head.root, *map(str, numbers), _format_mean(head.mean_kept_score))


def count_labels(
    url: str,
    *,
    top: int = 20,
    storage: StorageSettings | None = None,
    progress: ProgressCallback | None = None,
) -> StatsReport:
    """Count the labels at `url`, with the `top` most frequent head nouns. Raises NotFoundError."""
    labels = open_labels(url, storage)
    counts = _RowCounter(has_fates=labels.kind != "evidence")
    for done, row in enumerate(labels.rows(), start=1):
        counts.add(row)
        if labels.decoys is not None:
            labels.decoys.add(row)
        if progress:
            progress("samples", done, 0)
    rejected = Counter(row["code"] for row in labels.rejections())
    report = counts.report(labels.kind, labels.digest, rejected, top)
    return report.model_copy(update={"decoys": labels.decoys.numbers() if labels.decoys else None})


class _RegionCounter:
    """Sums over the regions of rows: of all, or of the kept ones."""

    def __init__(self) -> None:
        self.per_sample: Counter[str] = Counter()
        self.scores: Counter[int] = Counter()
        self.sizes: Counter[str] = Counter()
        self.by_root: Counter[str] = Counter()
        self.phrases: Counter[str] = Counter()  # with a region, by root
        self.score_sums: defaultdict[str, float] = defaultdict(float)  # by root
        self.samples = 0

    def add(self, phrases: Sequence[PhraseRow], regions: Sequence[RegionRow]) -> None:
        self.per_sample[_count_bin(len(regions))] += 1
        self.samples += bool(regions)
        self.phrases.update(phrases[number]["root"] for number in {region["phrase"] for region in regions})
        for region in regions:
            root = phrases[region["phrase"]]["root"]
            self.by_root[root] += 1
            self.score_sums[root] += region["score"]
            self.scores[score_bin(region["score"])] += 1
            self.sizes[_box_size(region)] += 1

    def mean_score(self, root: str) -> float | None:
        return self.score_sums[root] / self.by_root[root] if self.by_root[root] else None

    def per_sample_bins(self) -> dict[str, int]:
        names = [name for _, name in _COUNT_BINS] + ["51+"]
        return {name: self.per_sample[name] for name in names if self.per_sample[name]}

    def histogram(self) -> tuple[int, ...]:
        return tuple(self.scores[number] for number in range(SCORE_BINS))

    def box_sizes(self) -> dict[str, int]:
        return {size: self.sizes[size] for size in ("small", "medium", "large") if self.scores}


class _RowCounter:
    """Sums over rows."""

    def __init__(self, has_fates: bool) -> None:
        self.all = _RegionCounter()
        self.kept = _RegionCounter() if has_fates else None
        self.kinds: Counter[str] = Counter()
        self.fates: Counter[str] = Counter()
        self.region_fates: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.roots: Counter[str] = Counter()
        self.truncated = 0

    def add(self, row: LabelRow) -> None:
        phrases = row["phrases"]
        regions = [region for region in row["regions"] if phrases[region["phrase"]]["kind"] != "decoy"]
        self.all.add(phrases, regions)
        if self.kept is not None:
            self.kept.add(phrases, [region for region in regions if is_kept(region)])
        self.region_fates.update(str(region.get("fate")) for region in regions if "fate" in region)
        self.dropped.update(phrase["code"] for phrase in row["dropped_phrases"] or ())
        for phrase in phrases:
            self.kinds[phrase["kind"]] += 1
            if "fate" in phrase:
                self.fates[str(phrase.get("fate"))] += 1
            if phrase["kind"] != "decoy":
                self.truncated += phrase["truncated"]
                self.roots[phrase["root"]] += 1

    def report(self, kind: str, digest: str, rejected: Counter[str], top: int) -> StatsReport:
        every = self.all
        return StatsReport(
            kind=kind,
            digest=digest,
            samples=every.per_sample.total(),
            samples_with_region=every.samples,
            regions=every.scores.total(),
            regions_per_sample=every.per_sample_bins(),
            phrases=self.roots.total(),
            phrases_with_region=every.phrases.total(),
            phrase_kinds=_sort_by_count(self.kinds),
            region_fates=_sort_by_count(self.region_fates),
            phrase_fates=_sort_by_count(self.fates),
            truncated_phrases=self.truncated,
            dropped_phrases=_sort_by_count(self.dropped),
            distinct_roots=len(self.roots),
            top_roots=tuple(self._head_numbers(root) for root in self._top_roots(top)),
            score_histogram=every.histogram(),
            box_sizes=every.box_sizes(),
            rejected=_sort_by_count(rejected),
            kept=self._make_kept_numbers(),
        )

    def _make_kept_numbers(self) -> KeptNumbers | None:
        kept = self.kept
        if kept is None:
            return None
        return KeptNumbers(
            samples_with_region=kept.samples,
            regions=kept.scores.total(),
            class_only=self.region_fates[CLASS_ONLY],
            phrases_with_region=kept.phrases.total(),
            regions_per_sample=kept.per_sample_bins(),
            score_histogram=kept.histogram(),
            box_sizes=kept.box_sizes(),
        )

    def _top_roots(self, top: int) -> list[str]:
        return sorted(self.roots, key=lambda root: (-self.roots[root], root))[:top]

    def _head_numbers(self, root: str) -> HeadNumbers:
        every, kept = self.all, self.kept
        return HeadNumbers(
            root=root,
            phrases=self.roots[root],
            with_region=every.phrases[root],
            regions=every.by_root[root],
            mean_score=every.mean_score(root),
            with_kept_region=None if kept is None else kept.phrases[root],
            kept=None if kept is None else kept.by_root[root],
            mean_kept_score=None if kept is None else kept.mean_score(root),
        )


def _box_size(region: RegionRow) -> str:
    area = (region["x1"] - region["x0"]) * (region["y1"] - region["y0"])
    return "small" if area < SMALL_PX2 else "medium" if area < MEDIUM_PX2 else "large"


def _count_bin(number: int) -> str:
    return next((name for most, name in _COUNT_BINS if number <= most), "51+")


def _sort_by_count(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _format_mean(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
