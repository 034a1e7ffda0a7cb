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

from student.evaluate.coco import AREAS, NAMES, area_of, mean_of_defined

_RECALL_POINTS = np.linspace(0, 1, 101)
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


def weighted_numbers(evaluation: COCOeval, weights_BI: np.ndarray) -> np.ndarray:
    """[B, K, N] the twelve numbers of each category when image i counts weights_BI[b, i] times; -1 without gold."""
    params = evaluation.params
    matches = _matches_by_category_and_area(evaluation)
    values_BKN = np.full((len(weights_BI), len(params.cat_ids), len(NAMES)), -1.0)
    for k, category in enumerate(params.cat_ids):
        for area in AREAS.values():
            found = matches.get((category, area))
            if found is None:
                continue
            for b, weights_I in enumerate(weights_BI):
                _fill(values_BKN[b, k], found, weights_I, area, params.max_dets)
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


def _fill(
    values_N: np.ndarray, found: _Matches, weights_I: np.ndarray, area: int, max_dets: Sequence[int]
) -> None:
    gold = float(found.gold_I @ weights_I)
    if gold == 0:
        return
    weight_D = weights_I[found.image_D]
    names = [name for name in NAMES if area_of(name) == area]
    precision_T = _average_precision(found, weight_D, gold)
    limits = dict(zip(("AR1", "AR10"), max_dets, strict=False))
    for name in names:
        if name.startswith("AP"):
            value = precision_T[_THRESHOLDS.get(name, slice(None))].mean()
        else:
            near_D = weight_D * (found.rank_D < limits.get(name, max_dets[-1]))
            value = (found.hit_TD @ near_D).mean() / gold
        values_N[NAMES.index(name)] = value


def _average_precision(found: _Matches, weight_D: np.ndarray, gold: float) -> np.ndarray:
    """[T] mean precision over 101 recall points, interpolated from the right as COCO does."""
    hits_TD = np.cumsum(found.hit_TD * weight_D, axis=1)
    all_TD = np.cumsum(found.counts_TD * weight_D, axis=1)
    precision_TD = np.divide(hits_TD, all_TD, out=np.zeros(hits_TD.shape), where=all_TD > 0)
    envelope_TD = np.maximum.accumulate(precision_TD[:, ::-1], axis=1)[:, ::-1]
    reached = [np.searchsorted(row, _RECALL_POINTS, side="left") for row in hits_TD / gold]
    padded_TD = np.pad(envelope_TD, ((0, 0), (0, 1)))
    return np.array([padded_TD[t, at].mean() for t, at in enumerate(reached)])
