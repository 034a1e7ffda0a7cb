"""One box per phrase and one phrase per place: the choice of greatest total score, exactly.

No two phrases get boxes of one place, and no other such choice has a greater total. A caption names different things,
so a box that two phrases want goes where it adds most. This keeps rare concepts whose box a frequent one would claim.
"""

# R regions, P phrases, C cliques of boxes that are one place to each other
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, linear_sum_assignment, milp
from scipy.sparse import csr_array

from schemas.boxes import Boxes, iou

Floats = NDArray[np.float64]


def assign_one_to_one(
    phrase_R: NDArray[np.int64], boxes_R4: Boxes, scores_R: Floats, same_place_iou: float
) -> list[int]:
    """Return the indices of the chosen regions, ascending: at most one per phrase, pairwise below `same_place_iou`.

    scores_R: finite, >= 0. A region of score 0 adds nothing and is not chosen.
    Places are no partition (a box may share its place with two boxes that do not share one), so the problem is a set
    packing. Boxes are first grouped into cliques, of which any choice takes at most one box. An optimal matching of
    phrases to cliques is an upper bound, and it nearly always obeys the pairwise rule, which proves that it is optimal.
    Otherwise the set packing is solved as an integer program.
    """
    if len(scores_R) == 0:
        return []
    conflicts_RR = iou(boxes_R4, boxes_R4) >= same_place_iou
    clique_R = _cliques(conflicts_RR, scores_R)
    chosen = _match(phrase_R, clique_R, scores_R)
    if conflicts_RR[np.ix_(chosen, chosen)].sum() == len(chosen):  # each only with itself
        return chosen
    return _pack(phrase_R, clique_R, conflicts_RR, scores_R)


def _cliques(conflicts_RR: NDArray[np.bool_], scores_R: Floats) -> NDArray[np.int64]:
    """Return the clique of each region, grown around the best region left. Ties go to the lower index."""
    clique_R = np.full(len(scores_R), -1, dtype=np.int64)
    for region in np.lexsort((np.arange(len(scores_R)), -scores_R)):
        if clique_R[region] >= 0:
            continue
        members = [int(region)]
        for other in np.flatnonzero(conflicts_RR[region] & (clique_R < 0)):
            if other != region and conflicts_RR[other, members].all():
                members.append(int(other))
        clique_R[members] = clique_R.max() + 1
    return clique_R


def _match(phrase_R: NDArray[np.int64], clique_R: NDArray[np.int64], scores_R: Floats) -> list[int]:
    """Return the best matching of phrases to cliques, each pair worth its best region."""
    phrases, row_R = np.unique(phrase_R, return_inverse=True)
    gain_PC = np.zeros((len(phrases), int(clique_R.max()) + 1))
    best_PC = np.full(gain_PC.shape, -1, dtype=np.int64)
    # ascending, so the best one is written last
    for region in np.lexsort((-np.arange(len(scores_R)), scores_R)):
        gain_PC[row_R[region], clique_R[region]] = scores_R[region]
        best_PC[row_R[region], clique_R[region]] = region
    rows, columns = linear_sum_assignment(gain_PC, maximize=True)
    return sorted(int(best_PC[r, c]) for r, c in zip(rows, columns, strict=True) if gain_PC[r, c] > 0)


def _pack(
    phrase_R: NDArray[np.int64],
    clique_R: NDArray[np.int64],
    conflicts_RR: NDArray[np.bool_],
    scores_R: Floats,
) -> list[int]:
    """Solve the set packing of greatest total score: one per phrase, one per clique, one per conflicting pair."""
    across = np.triu(conflicts_RR & (clique_R[:, None] != clique_R[None, :]), k=1)
    groups = [np.flatnonzero(phrase_R == phrase) for phrase in np.unique(phrase_R)]
    groups += [np.flatnonzero(clique_R == clique) for clique in np.unique(clique_R)]
    groups += list(np.argwhere(across))
    rows = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    columns = np.concatenate(groups)
    at_most_one = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(groups), len(scores_R)))
    solved = milp(
        -scores_R,
        integrality=np.ones(len(scores_R)),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(at_most_one, ub=1),
        options={"mip_rel_gap": 0.0},
    )
    assert solved.success, f"choosing nothing is a solution, but the solver reports: {solved.message}"
    return [int(region) for region in np.flatnonzero((solved.x > 0.5) & (scores_R > 0))]
