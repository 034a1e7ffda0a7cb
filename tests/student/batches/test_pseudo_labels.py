"""What a pseudo label means to the loss: from a view's row through prompt and labels to a real GLIP's three numbers.

The expected numbers are written out below, location by location and token by token, from the row itself.
"""

# N locations, T tokens
from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.compile.apply import apply_policy
from pipelines.compile.policy import Policy
from student.batches.geometry import AffineAugmentation
from student.batches.targets import make_targets
from student.data.examples import make_example
from student.prompts.training_prompt import make_caption_prompt
from teacher.models.glip import GlipForGrounding, GlipProcessor
from teacher.models.glip.assigner import assign
from teacher.models.glip.box_coder import decode, generalized_iou
from teacher.models.glip.losses import centerness, focal_loss

SIDE = 96
PHRASES = ("a red circle", "a blue square", "a green star")
CAPTION = " and ".join(PHRASES)
Losses = dict[str, torch.Tensor]


def region(phrase: int, box: tuple[int, ...], fate: str = "positive", weight: float = 1.0) -> dict[str, Any]:
    return {"phrase": phrase, **dict(zip(("x0", "y0", "x1", "y1"), box)), "fate": fate, "weight": weight}


def view_row(regions: list[dict], absent: tuple[int, ...] = ()) -> dict[str, Any]:
    grounded = {r["phrase"] for r in regions if r["fate"] != "ignore"}
    phrases = []
    for number, text in enumerate(PHRASES):
        begin = CAPTION.index(text)
        fate = "positive" if number in grounded else "absent" if number in absent else "unresolved"
        told = {"begin": begin, "end": begin + len(text), "text": text, "root": text.split()[-1]}
        phrases.append({**told, "kind": "chunk", "fate": fate})
    sample = {"unit": "u", "key": "k", "pixels": {}, "image_sha256": "", "caption": CAPTION}
    return {**sample, "phrases": phrases, "regions": regions}


class Student:
    """A tiny GLIP before an image of noise."""

    def __init__(self, start: Path) -> None:
        torch.manual_seed(3)
        self.model = GlipForGrounding.from_pretrained(start).eval()
        self.processor = GlipProcessor.from_pretrained(start)
        self.tokens = self.processor.tokens([CAPTION], self.processor.token_count(CAPTION))
        self.width = self.tokens["input_ids"].shape[1]
        spans = [[(CAPTION.index(text), CAPTION.index(text) + len(text))] for text in PHRASES]
        self.phrase_tokens = self.processor.phrase_tokens(CAPTION, spans, self.width)
        self.image = torch.randn(1, 3, SIDE, SIDE)

    def labels(self, row: dict[str, Any]) -> Any:
        one = make_example(row)
        sizes = {"stored_hw": (SIDE, SIDE), "input_hw": (SIDE, SIDE), "min_visible": 0.3}
        prompt = make_caption_prompt(one)
        return make_targets(one, prompt, self.phrase_tokens, self.width, AffineAugmentation(), **sizes)

    def outputs(self, labels: Any) -> Any:
        return self.model(pixel_values=self.image, labels=[labels], **self.tokens)

    def losses(self, row: dict[str, Any]) -> Losses:
        with torch.no_grad():
            return self.outputs(self.labels(row)).loss_dict


@pytest.fixture(scope="module")
def student(tiny_start: Path) -> Student:
    return Student(tiny_start)


def expected_losses(student: Student, row: dict[str, Any]) -> Losses:
    """Compute the three losses by their definition. Boxes of the row differ; image and network have one size."""
    with torch.no_grad():
        out = student.outputs(student.labels(row))
    taught = [r for r in row["regions"] if r["fate"] != "ignore"]
    boxes = torch.tensor([[r["x0"], r["y0"], r["x1"] - 1.0, r["y1"] - 1.0] for r in taught]).reshape(-1, 4)
    sizes = [height * width for height, width in out.level_shapes]
    owner = assign(out.anchors, sizes, [boxes], student.model.config.assigner_top_k)[0].tolist()
    centres = ((out.anchors[:, :2] + out.anchors[:, 2:]) / 2).tolist()
    anchors = max(sum(one >= 0 for one in owner), 1)  # counted, whatever they weigh
    unresolved = {i for i, phrase in enumerate(row["phrases"]) if phrase["fate"] == "unresolved"}
    out_everywhere = {t for i in unresolved for t in student.phrase_tokens[i]}
    token = box = central = central_sum = 0.0
    for n, own in enumerate(owner):
        told = set(student.phrase_tokens[taught[own]["phrase"]]) if own >= 0 else set()
        weight = taught[own]["weight"] if own >= 0 else 1.0
        unsure = set(out_everywhere)
        if own < 0:
            unsure |= {
                t
                for r in row["regions"]
                if _ignored_at(r, centres[n])
                for t in student.phrase_tokens[r["phrase"]]
            }
        for t in set(range(student.width)) - unsure:
            target = torch.tensor(float(t in told))
            token += weight * focal_loss(out.token_logits[0, n, t], target, 0.25, 2.0).item()
        if own >= 0:
            part = centerness(out.anchors[n : n + 1], boxes[own : own + 1]).item()
            central_sum += part
            placed = 0.0 if taught[own]["fate"] == "class_only" else weight
            found = decode(out.box_deltas[0, n : n + 1], out.anchors[n : n + 1])
            box += placed * part * (1 - generalized_iou(found, boxes[own : own + 1]).item())
            p = out.centerness_logits[0, n].sigmoid().item()
            central -= placed * (part * math.log(p) + (1 - part) * math.log(1 - p))
    config = student.model.config
    return {
        "loss_dot_product_token": token / anchors * config.token_loss_weight,
        "loss_reg": box / max(central_sum, 1e-30) * config.box_loss_weight,
        "loss_centerness": central / anchors * config.centerness_loss_weight,
    }


def _ignored_at(r: dict[str, Any], centre: list[float]) -> bool:
    x, y = centre
    return r["fate"] == "ignore" and r["x0"] <= x <= r["x1"] - 1 and r["y0"] <= y <= r["y1"] - 1


def _random_row(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    regions = []
    for _ in range(rng.integers(0, 7)):
        x, y = (int(v) for v in rng.integers(0, 50, 2))
        w, h = (int(v) for v in rng.integers(12, 46, 2))
        fate = str(rng.choice(["positive", "class_only", "ignore"], p=[0.5, 0.2, 0.3]))
        weight = 0.0 if fate == "ignore" else float(np.float32(rng.choice([0.0, 0.37, 1.0])))
        regions.append(region(int(rng.integers(0, 3)), (x, y, x + w, y + h), fate, weight))
    return view_row(regions, absent=(int(rng.integers(0, 3)),))


@pytest.mark.parametrize("seed", range(12))
def test_any_row_of_a_view_costs_what_its_fates_and_weights_say(student: Student, seed: int) -> None:
    row = _random_row(seed)

    found = {name: value.item() for name, value in student.losses(row).items()}

    assert found == pytest.approx(expected_losses(student, row), rel=2e-4, abs=1e-6)


LEFT, RIGHT, LOW = (4, 4, 40, 40), (50, 8, 90, 44), (30, 50, 70, 92)


def test_all_weights_one_and_nothing_ignored_is_glips_loss_bit_for_bit(student: Student) -> None:
    row = view_row([region(0, LEFT), region(1, RIGHT), region(2, LOW)])
    labels = student.labels(row)
    plain = {name: labels[name] for name in ("boxes", "positive_map")}

    with torch.no_grad():
        ours, glips = (student.outputs(one).loss_dict for one in (labels, plain))

    assert all(torch.equal(ours[name], glips[name]) for name in glips)


def test_a_weight_on_every_region_scales_box_and_centerness_and_not_what_they_are_divided_by(
    student: Student,
) -> None:
    boxes = ((0, LEFT), (1, RIGHT))
    full, half = (
        student.losses(view_row([region(*box, weight=weight) for box in boxes])) for weight in (1.0, 0.5)
    )

    assert half["loss_reg"].item() == pytest.approx(full["loss_reg"].item() / 2, rel=1e-5)
    assert half["loss_centerness"].item() == pytest.approx(full["loss_centerness"].item() / 2, rel=1e-5)
    # the background keeps its whole weight
    token = "loss_dot_product_token"
    assert full[token].item() / 2 < half[token].item() < full[token].item()


def test_class_only_keeps_the_token_loss_and_drops_the_other_two(student: Student) -> None:
    positive, class_only = (
        student.losses(view_row([region(0, LEFT, fate)])) for fate in ("positive", "class_only")
    )

    assert torch.equal(positive["loss_dot_product_token"], class_only["loss_dot_product_token"])
    assert class_only["loss_reg"] == class_only["loss_centerness"] == 0 < positive["loss_reg"]


def _gradient(student: Student, row: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """[N, T] whether a logit learns anything, and [N, 2] the anchors' centres."""
    out = student.outputs(student.labels(row))
    out.token_logits.retain_grad()
    out.loss_dict["loss_dot_product_token"].backward()
    return out.token_logits.grad[0] != 0, (out.anchors[:, :2] + out.anchors[:, 2:]) / 2


def test_an_ignored_candidate_silences_its_phrase_in_its_box_and_nothing_else(student: Student) -> None:
    learns, centres = _gradient(
        student, view_row([region(0, LEFT), region(0, LOW, "ignore"), region(1, RIGHT)])
    )

    x, y = centres.T
    inside = (x >= LOW[0]) & (x <= LOW[2] - 1) & (y >= LOW[1]) & (y <= LOW[3] - 1)
    own, square = student.phrase_tokens[0], student.phrase_tokens[1]
    assert inside.any() and not learns[inside][:, own].any()
    assert learns[inside][:, square].all() and learns[~inside][:, own].all()


def test_an_anchor_of_another_phrases_box_still_learns_that_the_ignored_phrase_is_not_there(
    student: Student,
) -> None:
    # two phrases wanted one box; the square won it
    learns, _ = _gradient(student, view_row([region(0, LEFT), region(0, RIGHT, "ignore"), region(1, RIGHT)]))
    out = student.outputs(student.labels(view_row([region(1, RIGHT)])))
    box = torch.tensor([[*RIGHT[:2], RIGHT[2] - 1.0, RIGHT[3] - 1.0]])
    sizes = [height * width for height, width in out.level_shapes]
    won = assign(out.anchors, sizes, [box], student.model.config.assigner_top_k)[0] >= 0

    assert won.any() and learns[won][:, student.phrase_tokens[0]].all()


def test_an_unresolved_phrase_is_out_everywhere_and_an_absent_one_is_a_negative_everywhere(
    student: Student,
) -> None:
    unresolved, _ = _gradient(student, view_row([region(0, LEFT)]))
    absent, _ = _gradient(student, view_row([region(0, LEFT)], absent=(1,)))

    square, star = student.phrase_tokens[1], student.phrase_tokens[2]
    assert not unresolved[:, square].any() and not unresolved[:, star].any()
    assert absent[:, square].all() and not absent[:, star].any()


def test_a_weight_of_zero_leaves_only_the_background_of_the_tokens(student: Student) -> None:
    learns, _ = _gradient(student, view_row([region(0, LEFT, weight=0.0), region(1, RIGHT, weight=0.0)]))
    losses = student.losses(view_row([region(0, LEFT, weight=0.0), region(1, RIGHT, weight=0.0)]))

    assert losses["loss_reg"] == losses["loss_centerness"] == 0
    assert 0 < int((~learns.any(dim=1)).sum()) < len(learns)


# from evidence over a policy to the loss

NEAR_LEFT = (8, 4, 44, 40)  # IoU 0.8 with LEFT
REMOVED: dict[str, tuple[dict[str, Any], list[tuple[int, tuple[int, ...], float]]]] = {
    "overlap": ({}, [(0, LEFT, 0.9), (0, NEAR_LEFT, 0.85)]),
    "over_candidates": ({"max_candidates_per_phrase": 1}, [(0, LEFT, 0.9), (0, LOW, 0.85)]),
    "lost_assignment": ({"one_to_one": True}, [(0, LEFT, 0.9), (0, LOW, 0.85), (1, RIGHT, 0.7)]),
    "below_score": ({"candidate_score": 0.2}, [(0, LEFT, 0.9), (0, LOW, 0.45)]),
    "over_cap": ({"max_regions_per_phrase": 1}, [(0, LEFT, 0.9), (0, LOW, 0.85)]),
}


def compiled_row(policy: dict[str, Any], found: list[tuple[int, tuple[int, ...], float]]) -> dict[str, Any]:
    """Return the view row of what a teacher found, given as (phrase, box, score)."""
    row = view_row([])
    for phrase in row["phrases"]:
        del phrase["fate"]
        phrase["groundable"] = True
    regions = [
        {**region(phrase, box), "score": score, "class_score": None, "quality": None, "pass_index": 0}
        for phrase, box, score in found
    ]
    return apply_policy([{**row, "regions": regions}], Policy(**policy)).rows[0]


def _inside(box: tuple[int, ...], centres_N2: torch.Tensor) -> torch.Tensor:
    x, y = centres_N2.T
    return (x >= box[0]) & (x <= box[2] - 1) & (y >= box[1]) & (y <= box[3] - 1)


def _owned(student: Student, row: dict[str, Any]) -> torch.Tensor:
    """[N] whether an anchor answers for a box of the row."""
    labels = student.labels(row)
    out = student.outputs(labels)
    sizes = [height * width for height, width in out.level_shapes]
    return assign(out.anchors, sizes, [labels["boxes"]], student.model.config.assigner_top_k)[0] >= 0


@pytest.mark.parametrize("rule", REMOVED)
def test_the_place_of_a_removed_candidate_is_a_negative_of_its_phrase_only_where_the_policy_says_so(
    student: Student, rule: str
) -> None:
    fields, found = REMOVED[rule]
    default, explicit = compiled_row(fields, found), compiled_row({**fields, "ignore_score": None}, found)
    phrase, box, _ = found[1]
    tokens = student.phrase_tokens[phrase]

    silent, centres = _gradient(student, default)
    taught, _ = _gradient(student, explicit)

    place = _inside(box, centres) & ~_owned(student, default)
    assert place.any()
    assert not silent[place][:, tokens].any()
    assert taught[place][:, tokens].all()
    assert "unresolved" not in [default["phrases"][n]["fate"] for n, *_ in found]


def test_a_suppressed_duplicate_takes_no_positive_location_of_the_kept_box_out_of_the_loss(
    student: Student,
) -> None:
    row = compiled_row({}, REMOVED["overlap"][1])
    learns, centres = _gradient(student, row)
    alone = compiled_row({}, REMOVED["overlap"][1][:1])

    owned = _owned(student, row)
    assert torch.equal(owned, _owned(student, alone))
    assert (owned & _inside(NEAR_LEFT, centres)).any()
    assert learns[owned][:, student.phrase_tokens[0]].all()
    assert torch.equal(student.losses(row)["loss_reg"], student.losses(alone)["loss_reg"])
    assert torch.equal(student.losses(row)["loss_centerness"], student.losses(alone)["loss_centerness"])
