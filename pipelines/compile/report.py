"""What a policy kept, ignored and dropped, by rule. A report whose counts do not add up cannot be made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pydantic import Field, model_validator

from pipelines.compile.apply import CompiledRows
from pipelines.compile.rules import rule_meanings
from pipelines.labels.fates import find_kept_regions, is_kept
from pipelines.labels.score_bins import SCORE_BINS, bin_names, score_bin
from pipelines.quality.decoys import DecoyCounter, DecoyNumbers
from pipelines.report_base import Report, Table, share
from schemas.ledger import Snapshot
from schemas.records import Record
from schemas.rows import EvidenceRow, ViewRow


class SampleNumbers(Record):
    """Samples of the evidence: in the view or left out, with a kept box or without."""

    samples_in: int = Field(ge=0)
    kept: int = Field(ge=0, description="in the view")
    with_box: int = Field(ge=0)
    without_box: int = Field(ge=0)

    @model_validator(mode="after")
    def _check_sum(self) -> SampleNumbers:
        if (
            self.with_box + self.without_box != self.samples_in
            or not self.with_box <= self.kept <= self.samples_in
        ):
            raise ValueError(f"samples do not add up: {self.model_dump()}")
        return self


class RegionNumbers(Record):
    """Regions of the evidence: kept, kept as regions to ignore, or dropped; the latter two by one rule each."""

    regions_in: int = Field(ge=0)
    kept: int = Field(ge=0, description="in the view, and taught")
    dropped: dict[str, int] = Field(description="by rule, see docs/policy.md")
    merged: int = Field(ge=0, description="kept, with the box of a better region of another phrase")
    ignored: dict[str, int] = Field({}, description="in the view as fate ignore, by the rule that took them")
    class_only: int = Field(0, ge=0, description="kept, and their box is not taught")
    weight: float = Field(0.0, ge=0, description="sum over the kept regions of their weight in the loss")

    @model_validator(mode="after")
    def _check_sum(self) -> RegionNumbers:
        out = self.kept + sum(self.ignored.values()) + sum(self.dropped.values())
        if out != self.regions_in:
            raise ValueError(
                f"{self.regions_in} regions in, {out} kept, ignored or dropped: {self.regions_in - out} lost"
            )
        if self.class_only > self.kept:
            raise ValueError(f"{self.class_only} class_only regions of {self.kept} kept ones")
        return self


class PhraseNumbers(Record):
    """Phrases of the view by fate."""

    positive: int = 0
    unresolved: int = 0
    absent: int = 0


class ScoreHistogram(Record):
    """Regions per bin of raw score; bin i covers [i, i + 1) / bins, the last one with its right end."""

    bins: int = SCORE_BINS
    evidence: tuple[int, ...]
    view: tuple[int, ...] = Field(description="of the kept regions")
    ignored: tuple[int, ...] = Field((0,) * SCORE_BINS, description="of the regions to ignore")


class CompileReport(Report):
    """One policy over one snapshot of evidence."""

    digest: str = Field(description="of the view's rows")
    policy_digest: str
    snapshot_digest: str
    snapshot_version: int
    score_kind: str
    units: dict[str, int] = Field(
        description="planned, committed, failed: unfinished evidence gives a partial view"
    )
    samples: SampleNumbers
    regions: RegionNumbers
    phrases: PhraseNumbers
    scores: ScoreHistogram
    numbers: dict[str, int] = Field(
        {}, description="phrases with a candidate: singular, plural, mass; empty without one_to_one"
    )
    gold: dict[str, str] = Field(
        {}, description="digest of each gold that went before the teacher, by its place"
    )
    decoys: DecoyNumbers | None = Field(None, description="nouns believed absent; none where none were asked")

    def tables(self) -> list[Table]:
        """Return the report as tables, in reading order."""
        samples, regions, phrases = self.samples, self.regions, self.phrases
        asked = phrases.positive + phrases.unresolved + phrases.absent
        summary = [
            ("units committed", share(self.units["committed"], self.units["planned"])),
            ("samples in the view", share(samples.kept, samples.samples_in)),
            ("samples with a kept box", share(samples.with_box, samples.samples_in)),
            ("regions kept", share(regions.kept, regions.regions_in)),
            ("regions kept, class only", share(regions.class_only, regions.kept)),
            ("regions to ignore", share(sum(regions.ignored.values()), regions.regions_in)),
            ("weight per kept region", f"{regions.weight / max(regions.kept, 1):.3f}"),
            ("regions moved to a shared box", f"{regions.merged}"),
            ("phrases positive", share(phrases.positive, asked)),
            ("phrases unresolved", share(phrases.unresolved, asked)),
            ("phrases absent", share(phrases.absent, asked)),
            *((f"phrases of number {name}", f"{number}") for name, number in self.numbers.items()),
        ]
        bins = (self.scores.evidence, self.scores.view, self.scores.ignored)
        scores = [(name, *map(str, row)) for name, *row in zip(bin_names(), *bins, strict=True)]
        return [
            Table(f"view {self.digest}", ("what", "number"), summary),
            _list_rules("regions dropped", regions.dropped),
            *([_list_rules("regions to ignore", regions.ignored)] if regions.ignored else []),
            *([self.decoys.table()] if self.decoys else []),
            Table("raw score", ("score", "evidence", "kept", "to ignore"), scores),
        ]


def _list_rules(title: str, numbers: dict[str, int]) -> Table:
    meanings = rule_meanings()
    rows = [(rule, str(number), meanings[rule]) for rule, number in numbers.items()]
    return Table(title, ("rule", "regions", "meaning"), rows)


class CompileCounter:
    """Counts rows on their way from evidence to view."""

    def __init__(self, decoys: DecoyCounter) -> None:
        self._decoys = decoys
        self._samples: Counter[str] = Counter()
        self._phrases: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._ignored: Counter[str] = Counter()
        self._numbers: Counter[str] = Counter()
        self._merged = self._class_only = 0
        self._weight = 0.0
        self._evidence: Counter[int] = Counter()
        self._view: Counter[int] = Counter()
        self._to_ignore: Counter[int] = Counter()

    @property
    def samples_in(self) -> int:
        """Number of evidence rows counted."""
        return self._samples["samples_in"]

    @property
    def regions_in(self) -> int:
        """Number of regions of the evidence counted."""
        return self._evidence.total()

    def add(self, rows: Sequence[EvidenceRow], compiled: CompiledRows) -> None:
        """Count evidence rows and the view rows that were made of them."""
        self._dropped.update(compiled.dropped)
        self._ignored.update(compiled.ignored)
        self._numbers.update(compiled.numbers)
        self._merged += compiled.merged
        with_box = int(compiled.has_box.sum())
        self._samples.update(
            samples_in=len(rows),
            kept=int(compiled.in_view.sum()),
            with_box=with_box,
            without_box=len(rows) - with_box,
        )
        for row, view_row, in_view in zip(rows, compiled.rows, compiled.in_view, strict=True):
            self._decoys.add(row)
            self._evidence.update(score_bin(region["score"]) for region in row["regions"])
            self._add_view_row(view_row)
            if in_view:
                self._phrases.update(phrase["fate"] for phrase in view_row["phrases"])

    def _add_view_row(self, row: ViewRow) -> None:
        kept = find_kept_regions(row)
        ignored = (region for region in row["regions"] if not is_kept(region))
        self._to_ignore.update(score_bin(region["score"]) for region in ignored)
        self._view.update(score_bin(region["score"]) for region in kept)
        self._class_only += sum(region["fate"] == "class_only" for region in kept)
        self._weight += sum(region["weight"] for region in kept)

    def report(
        self,
        *,
        digest: str,
        policy_digest: str,
        snapshot: Snapshot,
        score_kind: str,
        gold: dict[str, str],
    ) -> CompileReport:
        """Return the report. Raises ValueError if samples or regions do not add up."""
        names = ("samples_in", "kept", "with_box", "without_box")
        return CompileReport(
            digest=digest,
            policy_digest=policy_digest,
            snapshot_digest=snapshot.digest,
            snapshot_version=snapshot.version,
            score_kind=score_kind,
            units={
                "planned": snapshot.planned,
                "committed": snapshot.totals.units,
                "failed": snapshot.failed_units,
            },
            samples=SampleNumbers(**{name: self._samples[name] for name in names}),
            regions=RegionNumbers(
                regions_in=self.regions_in,
                kept=self._view.total(),
                dropped=dict(sorted(self._dropped.items())),
                merged=self._merged,
                ignored=dict(sorted(self._ignored.items())),
                class_only=self._class_only,
                weight=round(self._weight, 3),
            ),
            phrases=PhraseNumbers(**self._phrases),
            scores=ScoreHistogram(
                evidence=_to_bins(self._evidence),
                view=_to_bins(self._view),
                ignored=_to_bins(self._to_ignore),
            ),
            numbers=dict(sorted(self._numbers.items())),
            gold=gold,
            decoys=self._decoys.numbers(),
        )


def _to_bins(counts: Counter[int]) -> tuple[int, ...]:
    return tuple(counts[number] for number in range(SCORE_BINS))
