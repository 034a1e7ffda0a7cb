"""Intervals by drawing images anew: matches are made once, each draw only weights them.

Promise: with weight one for every image the numbers are those of `coco` (a test holds the two together).
"""

# B draws, I images, D detections, T IoU thresholds, K categories, N the twelve names
from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hotcoco import COCOeval

from student.evaluate.matching import NAMES, area_of, mean_of_defined

_RECALL_POINTS = np.linspace(0, 1, 101)
_CHUNK = 2_000_000  # array elements at a time
_THRESHOLDS = {"AP50": [0], "AP75": [5]}


def image_draws(images: int, draws: int, seed: int) -> np.ndarray:
    """[B, I] how often each image is in each draw of as many images, with replacement."""
    generator = np.random.default_rng(seed)
    return (
        generator.multinomial(images, np.full(images, 1 / images), size=draws)
        if images
        else np.zeros((draws, 0))
    )


def percentile_interval(values: np.ndarray, share: float = 0.95) -> list[float]:
    """The middle `share` of the draws; [-1, -1] when no draw had anything to measure."""
    defined = values[values > -1]
    if not defined.size:
        return [-1.0, -1.0]
    low, high = np.quantile(defined, [(1 - share) / 2, (1 + share) / 2])
    return [float(low), float(high)]


def coco_intervals(
    evaluation: COCOeval, groups: Mapping[str, Sequence[int]], draws: int, seed: int
) -> dict[str, dict[str, list[float]]]:
    """Intervals of the 12 numbers over draws of the images: under "" for all categories, else by group name."""
    weights_BI = image_draws(len(evaluation.params.img_ids), draws, seed)
    values_BKN = weighted_numbers(evaluation, weights_BI)
    ids = list(evaluation.params.cat_ids)
    columns = {
        "": list(range(len(ids))),
        **{name: [ids.index(i) for i in some] for name, some in groups.items()},
    }
    return {
        group: {
            name: percentile_interval(np.array([mean_of_defined(row) for row in values_BKN[:, chosen, n]]))
            for n, name in enumerate(NAMES)
        }
        for group, chosen in columns.items()
    }


def weighted_numbers(
    evaluation: COCOeval, weights_BI: np.ndarray, names: Sequence[str] = NAMES
) -> np.ndarray:
    """[B, K, N] the twelve numbers of each category when image i counts weights_BI[b, i] times; -1 without gold.

    names: those that are wanted; areas that only others need are left at -1
    """
    wanted = {area_of(name) for name in names}
    params = evaluation.params
    column = {category: k for k, category in enumerate(params.cat_ids)}
    values_BKN = np.full((len(weights_BI), len(column), len(NAMES)), -1.0)
    for (category, area), found in _matches_by_category_and_area(evaluation).items():
        if area not in wanted:
            continue
        draws = np.flatnonzero(weights_BI @ found.gold_I)
        size = max(1, _CHUNK // max(found.hit_TD.size, 1))
        for start in range(0, len(draws), size):
            chunk = draws[start : start + size]
            numbers = _weighted(found, weights_BI[chunk], area, params.max_dets)
            for name, values_B in numbers.items():
                values_BKN[chunk, column[category], NAMES.index(name)] = values_B
    return values_BKN


@dataclass(frozen=True)
class _Matches:
    """Detections of one category and area range, best score first, and the gold boxes that count, per image."""

    image_D: np.ndarray
    rank_D: np.ndarray
    hit_TD: np.ndarray
    counts_TD: np.ndarray
    gold_I: np.ndarray


def _matches_by_category_and_area(evaluation: COCOeval) -> dict[tuple[int, int], _Matches]:
    position = {image: i for i, image in enumerate(evaluation.params.img_ids)}
    area_index = {tuple(bounds): i for i, bounds in enumerate(evaluation.params.area_rng)}
    rows = defaultdict(list)
    for row in evaluation.eval_imgs:
        if row is not None:
            rows[row["category_id"], area_index[tuple(row["aRng"])]].append(row)
    return {
        key: _stack(sorted(some, key=lambda row: position[row["image_id"]]), position)
        for key, some in rows.items()
    }


def _stack(rows: list[dict[str, Any]], position: Mapping[int, int]) -> _Matches:
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


def _weighted(
    found: _Matches, weights_BI: np.ndarray, area: int, max_dets: Sequence[int]
) -> dict[str, np.ndarray]:
    """[B] values of the numbers that belong to an area range."""
    gold_B = weights_BI @ found.gold_I
    weights_BD = weights_BI[:, found.image_D]
    precision_BT = _average_precision(found, weights_BD, gold_B)
    limits = dict(zip(("AR1", "AR10"), max_dets, strict=False))
    numbers = {}
    for name in (name for name in NAMES if area_of(name) == area):
        if name.startswith("AP"):
            numbers[name] = precision_BT[:, _THRESHOLDS.get(name, slice(None))].mean(axis=1)
        else:
            near_BD = weights_BD * (found.rank_D < limits.get(name, max_dets[-1]))
            numbers[name] = (near_BD @ found.hit_TD.T).mean(axis=1) / gold_B
    return numbers


def _average_precision(found: _Matches, weights_BD: np.ndarray, gold_B: np.ndarray) -> np.ndarray:
    """[B, T] mean precision over 101 recall points, interpolated from the right as COCO does."""
    hits_BTD = np.cumsum(found.hit_TD * weights_BD[:, None], axis=2)
    all_BTD = np.cumsum(found.counts_TD * weights_BD[:, None], axis=2)
    precision_BTD = np.divide(hits_BTD, all_BTD, out=np.zeros(hits_BTD.shape), where=all_BTD > 0)
    envelope_BTD = np.maximum.accumulate(precision_BTD[..., ::-1], axis=2)[..., ::-1]
    # A recall point belongs to the first detection that reaches it: count the points that each one adds.
    reached_BTD = np.searchsorted(_RECALL_POINTS, hits_BTD / gold_B[:, None, None], side="right")
    added_BTD = np.diff(reached_BTD, axis=2, prepend=0)
    return (added_BTD * envelope_BTD).sum(axis=2) / len(_RECALL_POINTS)
