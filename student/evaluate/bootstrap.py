"""Intervals by resampling the images: detections are matched once, and each draw only weights the matches.

Promise: with weight one for every image the numbers are those of `coco` (a test compares them).
"""

# B draws, I images, D detections, T IoU thresholds, K categories, N the twelve names
from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hotcoco import COCOeval
from numpy.typing import NDArray

from student.evaluate.matching import NAMES, area_of, mean_of_defined
from student.gold.coco.types import CocoId

Floats = NDArray[np.float64]
Weights = NDArray[np.int64] | Floats
_RECALL_POINTS = np.linspace(0, 1, 101)
_CHUNK = 2_000_000  # array elements at a time
_THRESHOLDS = {"AP50": [0], "AP75": [5]}


def draw_weights(images: int, draws: int, seed: int) -> NDArray[np.int64]:
    """Return [B, I]: how often each image occurs in each draw of as many images, with replacement."""
    if not images:
        return np.zeros((draws, 0), dtype=np.int64)
    return np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=draws)


def percentile_interval(values: Floats, share: float = 0.95) -> list[float]:
    """Return the ends of the middle `share` of the draws; [-1, -1] if no draw had anything to measure."""
    defined = values[values > -1]
    if not defined.size:
        return [-1.0, -1.0]
    low, high = np.quantile(defined, [(1 - share) / 2, (1 + share) / 2])
    return [float(low), float(high)]


def coco_intervals(
    evaluation: COCOeval, groups: Mapping[str, Sequence[CocoId]], draws: int, seed: int
) -> dict[str, dict[str, list[float]]]:
    """Return intervals of the 12 numbers over draws of the images, by group; "" is the group of all categories."""
    weights_BI = draw_weights(len(evaluation.params.img_ids), draws, seed)
    values_BKN = weigh_numbers(evaluation, weights_BI)
    return {
        group: {
            name: percentile_interval(np.array([mean_of_defined(row) for row in values_BKN[:, chosen, n]]))
            for n, name in enumerate(NAMES)
        }
        for group, chosen in group_columns(evaluation, groups).items()
    }


def group_columns(evaluation: COCOeval, groups: Mapping[str, Sequence[CocoId]]) -> dict[str, list[int]]:
    """Return the positions of each group's categories in arrays [.., K, ..]; "" is the group of all categories."""
    ids: list[CocoId] = list(evaluation.params.cat_ids)
    return {
        "": list(range(len(ids))),
        **{name: [ids.index(own) for own in members] for name, members in groups.items()},
    }


def weigh_numbers(evaluation: COCOeval, weights_BI: Weights, names: Sequence[str] = NAMES) -> Floats:
    """Return [B, K, N]: the numbers of each category if image i counts weights_BI[b, i] times; -1 without gold.

    names: numbers that are needed; areas that only other numbers need stay at -1
    """
    areas = {area_of(name) for name in names}
    params = evaluation.params
    column = {category: k for k, category in enumerate(params.cat_ids)}
    values_BKN = np.full((len(weights_BI), len(column), len(NAMES)), -1.0)
    for (category, area), matches in _matches_by_category_and_area(evaluation).items():
        if area not in areas:
            continue
        draws = np.flatnonzero(weights_BI @ matches.gold_I)
        size = max(1, _CHUNK // max(matches.hit_TD.size, 1))
        for start in range(0, len(draws), size):
            chunk = draws[start : start + size]
            numbers = _compute_numbers(matches, weights_BI[chunk], area, params.max_dets)
            for name, values_B in numbers.items():
                values_BKN[chunk, column[category], NAMES.index(name)] = values_B
    return values_BKN


@dataclass(frozen=True)
class _Matches:
    """Detections of one category and area range, best score first, and the gold boxes that count, per image."""

    image_D: NDArray[np.int64]
    rank_D: NDArray[np.int64]
    hit_TD: NDArray[np.bool_]
    counts_TD: NDArray[np.bool_]
    gold_I: Floats


def _matches_by_category_and_area(evaluation: COCOeval) -> dict[tuple[int, int], _Matches]:
    position = {image: i for i, image in enumerate(evaluation.params.img_ids)}
    area_index = {tuple(bounds): i for i, bounds in enumerate(evaluation.params.area_rng)}
    rows: defaultdict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for row in evaluation.eval_imgs:
        if row is not None:
            rows[row["category_id"], area_index[tuple(row["aRng"])]].append(row)
    return {
        key: _stack(sorted(own, key=lambda row: position[row["image_id"]]), position)
        for key, own in rows.items()
    }


def _stack(rows: list[dict[str, Any]], position: Mapping[int, int]) -> _Matches:
    """Concatenate the matches of images, given in hotcoco's form, by descending score."""
    gold_I = np.zeros(len(position))
    for row in rows:
        gold_I[position[row["image_id"]]] += sum(not ignored for ignored in row["gtIgnore"])
    scores_D = np.concatenate([np.asarray(row["dtScores"], dtype=float) for row in rows])
    image_D = np.concatenate([np.full(len(row["dtScores"]), position[row["image_id"]]) for row in rows])
    rank_D = np.concatenate([np.arange(len(row["dtScores"])) for row in rows])
    matched_TD = np.concatenate(
        [np.asarray(row["dtMatched"], dtype=bool).reshape(10, -1) for row in rows], axis=1
    )
    ignored_TD = np.concatenate(
        [np.asarray(row["dtIgnore"], dtype=bool).reshape(10, -1) for row in rows], axis=1
    )
    order = np.argsort(-scores_D, kind="stable")
    counts_TD = ~ignored_TD[:, order]
    return _Matches(image_D[order], rank_D[order], matched_TD[:, order] & counts_TD, counts_TD, gold_I)


def _compute_numbers(
    matches: _Matches, weights_BI: Weights, area: int, max_dets: Sequence[int]
) -> dict[str, Floats]:
    """Return the values [B] of the numbers of an area range."""
    gold_B = weights_BI @ matches.gold_I
    weights_BD = weights_BI[:, matches.image_D]
    precision_BT = _average_precision(matches, weights_BD, gold_B)
    limits = dict(zip(("AR1", "AR10"), max_dets, strict=False))
    numbers = {}
    for name in (name for name in NAMES if area_of(name) == area):
        if name.startswith("AP"):
            numbers[name] = precision_BT[:, _THRESHOLDS.get(name, slice(None))].mean(axis=1)
        else:
            near_BD = weights_BD * (matches.rank_D < limits.get(name, max_dets[-1]))
            numbers[name] = (near_BD @ matches.hit_TD.T).mean(axis=1) / gold_B
    return numbers


def _average_precision(matches: _Matches, weights_BD: Weights, gold_B: Floats) -> Floats:
    """Return [B, T]: mean precision over 101 recall points, interpolated from the right as in COCO."""
    hits_BTD = np.cumsum(matches.hit_TD * weights_BD[:, None], axis=2)
    all_BTD = np.cumsum(matches.counts_TD * weights_BD[:, None], axis=2)
    precision_BTD = np.divide(hits_BTD, all_BTD, out=np.zeros(hits_BTD.shape), where=all_BTD > 0)
    envelope_BTD = np.maximum.accumulate(precision_BTD[..., ::-1], axis=2)[..., ::-1]
    # A recall point belongs to the first detection that reaches it: count the points that each one adds.
    reached_BTD = np.searchsorted(_RECALL_POINTS, hits_BTD / gold_B[:, None, None], side="right")
    added_BTD = np.diff(reached_BTD, axis=2, prepend=0)
    averages: Floats = (added_BTD * envelope_BTD).sum(axis=2) / len(_RECALL_POINTS)
    return averages
