"""A view with other boxes for the same captions: none at all, or the true ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

from engine.views import open_view, write_view
from pipelines.demo.oracle import TruthBoxes, find_named_boxes, read_truth_rows
from schemas.rows import ViewPhraseRow, ViewRegionRow, ViewRow

Change = Callable[[ViewRow, TruthBoxes], ViewRow]


def change_view(source: str, target: str, change: Change, truth_file: Path) -> int:
    """Write the rows of a view, changed in the light of the truth of each; returns how many there are."""
    view = open_view(source)
    truth = {(row["shard"], row["key"]): row for row in read_truth_rows(truth_file)}
    rows = (change(row, truth[Path(row["shard"]).name, row["key"]]) for row in view.rows())
    provenance = {**view.manifest.provenance, "changed": change.__name__}
    return write_view(target, rows, kind="view", provenance=provenance).rows


def boxless(row: ViewRow, truth: TruthBoxes) -> ViewRow:
    """No box is learned and no phrase called present or absent: what is left are pixels, words and drawn negatives.

    Boxes stay as places to ignore, which teach nothing. A row that the student trains on must stay one that is
    trained on: one of its boxes goes to a second copy of its phrase, with a weight of nothing. The first copy keeps the
    noun out of detection prompts and the words out of the loss.
    """
    regions: list[ViewRegionRow] = [{**region, "fate": "ignore", "weight": 0.0} for region in row["regions"]]
    phrases = _set_fates(row, set())
    kept = next((n for n, region in enumerate(row["regions"]) if region["fate"] != "ignore"), None)
    if kept is not None:
        phrases.append({**phrases[regions[kept]["phrase"]], "fate": "positive"})
        regions[kept].update({"phrase": len(phrases) - 1, "fate": "class_only"})
    return {**row, "regions": regions, "phrases": phrases}


def oracle(row: ViewRow, truth: TruthBoxes) -> ViewRow:
    """Give every phrase that names a thing its true boxes. Other phrases stay unresolved, as the policy leaves them."""
    regions = []
    for number, phrase in enumerate(row["phrases"]):
        for box in find_named_boxes(phrase, truth).tolist():
            regions.append(_region(number, box))
    held = {region["phrase"] for region in regions}
    return {**row, "regions": regions, "phrases": _set_fates(row, held)}


def _region(phrase: int, box_xyxy_px: list[float]) -> ViewRegionRow:
    sides = dict(zip(("x0", "y0", "x1", "y1"), box_xyxy_px, strict=True))
    belief = {"score": 1.0, "pass_index": 0, "weight": 1.0, "fate": "positive", "origin": "human"}
    return cast(ViewRegionRow, {"phrase": phrase, **sides, **belief})


def _set_fates(row: ViewRow, held: set[int]) -> list[ViewPhraseRow]:
    return [
        {**phrase, "fate": "positive" if number in held else "unresolved"}
        for number, phrase in enumerate(row["phrases"])
    ]


CHANGES: dict[str, Change] = {"boxless": boxless, "oracle": oracle}
