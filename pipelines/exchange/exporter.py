"""What an export format is: a name, what it can represent, and a function that encodes rows.

`ExportedRows` gives an encoder the rows that its format can represent and counts everything else. So every format
reports its losses in the same way, and no encoder drops anything silently.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from pipelines.labels.fates import LabelRow, find_kept_regions, is_kept

if TYPE_CHECKING:
    from pipelines.labels.open_any import Labels
    from schemas.rows import PhraseRow, RegionRow


class Detail(StrEnum):
    """A detail of labels that a format may be unable to represent. The value is its name in reports."""

    DECOY_REGIONS = "decoy_regions"
    CLASS_ONLY_REGIONS = "class_only_regions"
    PHRASES_WITHOUT_REGION = "phrases_without_region"
    DROPPED_PHRASES = "dropped_phrases"
    REJECTED_SAMPLES = "rejected_samples"
    WEIGHTS = "weights"
    BELIEFS = "beliefs"
    PARTS_OF_SCORE = "parts_of_score"
    SCORES = "scores"
    PLACES = "places"
    IMAGES_WITHOUT_REGION = "images_without_region"
    REGIONS_TO_IGNORE = "regions_to_ignore"


MEANINGS: dict[Detail, str] = {
    Detail.DECOY_REGIONS: "regions of phrases that are not in the caption",
    Detail.CLASS_ONLY_REGIONS: "regions whose class is believed and whose box is not",
    Detail.PHRASES_WITHOUT_REGION: "phrases that were asked for and have no box here (unresolved, absent or unseen)",
    Detail.DROPPED_PHRASES: "phrases that were not asked for, with their reason",
    Detail.REJECTED_SAMPLES: "samples without labels, with their reason",
    Detail.WEIGHTS: "regions with a weight other than 1",
    Detail.BELIEFS: "regions with a calibrated probability or q-value",
    Detail.PARTS_OF_SCORE: "regions with a class score or a quality of their own",
    Detail.SCORES: "regions with a score other than 1, or with more digits than the format has",
    Detail.PLACES: "regions whose phrase is written without its place in the caption",
    Detail.IMAGES_WITHOUT_REGION: "images without a region that is written",
    Detail.REGIONS_TO_IGNORE: "regions that are no labels and are to be ignored",
}


LABELS_IN_FULL = frozenset(
    {Detail.SCORES, Detail.PLACES, Detail.IMAGES_WITHOUT_REGION, Detail.REGIONS_TO_IGNORE}
)
"""What most formats represent: every region with its score and the place of its phrase, and images without any."""


@dataclass(frozen=True)
class EncodedFile:
    """The content of an exported file, and the number of categories in it."""

    content: bytes
    categories: int


@dataclass(frozen=True)
class Exporter:
    """One export format.

    title:       the format's name in reports
    encode:      encodes the rows; the labels say where these come from
    represents:  the details that the format can represent
    ignore_mark: how the format marks a region to ignore
    """

    title: str
    encode: Callable[[Labels, ExportedRows], EncodedFile]
    represents: frozenset[Detail] = LABELS_IN_FULL
    ignore_mark: str = "not written"


@dataclass
class ExportedRows:
    """The rows of labels without the regions that a format cannot represent. Iterate over it once.

    rows:       rows of evidence, view or gold
    represents: the details that the format can represent
    rejected:   number of samples without labels

    The counts are complete after the iteration. `lost` has the details that could not be represented.
    """

    rows: Iterable[LabelRow]
    represents: frozenset[Detail]
    rejected: int = 0
    images: int = 0
    images_without_region: int = 0
    annotations: int = 0
    ignore: int = 0
    lost: Counter[Detail] = field(default_factory=Counter)

    def __iter__(self) -> Iterator[LabelRow]:
        self._lose(Detail.REJECTED_SAMPLES, self.rejected)
        for row in self.rows:
            regions = [region for region in row["regions"] if self._count(region, row["phrases"])]
            if not self._keeps_image(regions):
                continue
            labels = sum(is_kept(region) for region in regions)
            self.images += 1
            self.images_without_region += not labels
            self.annotations += len(regions)
            self.ignore += len(regions) - labels
            seen = {region["phrase"] for region in find_kept_regions(row)}
            self._lose(Detail.PHRASES_WITHOUT_REGION, len(row["phrases"]) - len(seen))
            self._lose(Detail.DROPPED_PHRASES, len(row["dropped_phrases"] or ()))
            exported = row.copy()
            exported["regions"] = regions  # type: ignore[arg-type]  # of the kind that the row had
            yield exported

    def _count(self, region: RegionRow, phrases: Sequence[PhraseRow]) -> bool:
        """Count what is lost of a region; return whether the format can represent it at all."""
        phrase = phrases[region["phrase"]]
        if phrase["kind"] == "decoy" and self._lose(Detail.DECOY_REGIONS):
            return False
        if region.get("fate") == "class_only" and self._lose(Detail.CLASS_ONLY_REGIONS):
            return False
        if not is_kept(region) and self._lose(Detail.REGIONS_TO_IGNORE):
            return False
        if region["score"] != 1.0:
            self._lose(Detail.SCORES)
        if phrase["begin"] is not None:
            self._lose(Detail.PLACES)
        if is_kept(region) and region.get("weight", 1.0) != 1.0:  # the weight of one to ignore means nothing
            self._lose(Detail.WEIGHTS)
        if region.get("p_correct") is not None or region.get("q_value") is not None:
            self._lose(Detail.BELIEFS)
        if region["class_score"] is not None or region["quality"] is not None:
            self._lose(Detail.PARTS_OF_SCORE)
        return True

    def _keeps_image(self, regions: Sequence[RegionRow]) -> bool:
        """Count an image without regions; return whether the format can represent it."""
        return bool(regions) or not self._lose(Detail.IMAGES_WITHOUT_REGION)

    def _lose(self, detail: Detail, number: int = 1) -> bool:
        """Count a detail, unless the format represents it. Return whether it is lost."""
        is_lost = detail not in self.represents
        if is_lost and number:
            self.lost[detail] += number
        return is_lost
