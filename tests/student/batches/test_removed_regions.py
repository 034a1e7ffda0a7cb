"""From a policy of two lines to the labels of a prompt: no place that a rule removed is a negative of its phrase."""

# R regions, T characters of the prompt: here each is a token
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.views import open_view
from pipelines.compile.apply import apply_policy
from pipelines.compile.policy import Policy
from pipelines.compile.run import compile_view
from pipelines.config import load_settings
from student.batches.geometry import AffineAugmentation
from student.batches.targets import make_targets
from student.data.example_source import MemorySource
from student.data.examples import TrainingExample, make_example
from student.data.order import WholeOrder
from student.data.streams import Stream
from student.prompts.training_prompt import (
    TokenBudget,
    TrainingPrompt,
    make_caption_prompt,
    make_detection_prompt,
    make_fixed_prompt,
)
from student.settings.streams import StreamSettings
from teacher.models.glip.losses import ImageLabels
from tests.compile.conftest import write_evidence

__all__ = ["write_evidence"]  # a fixture

TWO_LINES = {
    "overlap": "nms_iou: 0.3\nmin_score: 0.2\n",
    "over_candidates": "max_candidates_per_phrase: 1\nmin_score: 0.2\n",
    "lost_assignment": "one_to_one: true\nmin_score: 0.2\n",
    "below_score": "candidate_score: 0.2\nmin_score: 0.6\n",
    "over_cap": "max_regions_per_phrase: 1\nmin_score: 0.3\n",
    "not_groundable": "groundable_only: true\nmin_score: 0.2\n",
    "merge": "merge_iou: 0.5\nmax_regions_per_phrase: 1\n",
    "class_only": "class_only_below: 0.9\nweight: score\n",
}
# (words, root, whether it can be boxed): two phrases have one noun
PHRASES = [
    ("a dog", "dog", True),
    ("a black dog", "dog", True),
    ("a lynx", "lynx", True),
    ("fun", "fun", False),
]
CAPTION = " and ".join(words for words, *_ in PHRASES)
SIDE = 128
BUDGET = TokenBudget(200, len)
Found = list[tuple[int, int, int, int, int, float]]


def evidence_row(found: Found) -> dict[str, Any]:
    """Make a row of evidence; found: (phrase, x0, y0, width, height, score). The last phrase is a decoy."""
    common = {"kind": "chunk", "truncated": False}
    phrases = [
        {**common, "begin": CAPTION.index(words), "end": CAPTION.index(words) + len(words), "text": words}
        | {"root": root, "groundable": groundable}
        for words, root, groundable in PHRASES
    ]
    phrases.append(
        {**phrases[0], "begin": None, "end": None, "text": "a yak", "root": "yak", "kind": "decoy"}
    )
    regions = [
        {"phrase": phrase, "x0": float(x), "y0": float(y), "x1": float(x + w), "y1": float(y + h)}
        | {"score": float(np.float32(score)), "class_score": None, "quality": None, "pass_index": number}
        for number, (phrase, x, y, w, h, score) in enumerate(found)
    ]
    sample = {"unit": "u", "key": "k", "pixels": {}, "image_sha256": "", "caption": CAPTION}
    return {**sample, "phrases": phrases, "regions": regions}


def prompts_of(example: TrainingExample) -> list[TrainingPrompt]:
    """Make a prompt of every kind that a view is trained with."""
    nouns = {"dog": 3, "lynx": 2, "fun": 1, "yak": 2, "zebra": 1}
    stream = Stream(
        StreamSettings(url="x", share=1.0),
        "d",
        "v",
        False,
        MemorySource([example]),
        WholeOrder([0], "d"),
        nouns,
        {},
    )
    drawn = make_detection_prompt(np.random.default_rng(1), stream, example, 5, BUDGET)
    return [make_caption_prompt(example), drawn, make_fixed_prompt(example, ". ".join(nouns))]


def label(example: TrainingExample, prompt: TrainingPrompt) -> ImageLabels:
    tokens = [list(range(span.begin, span.end)) for span in prompt.spans]
    return make_targets(
        example, prompt, tokens, len(prompt.text), AffineAugmentation(), (SIDE, SIDE), (SIDE, SIDE), 0.3
    )


def asks(prompt: TrainingPrompt, begin: int, end: int, phrase: dict[str, Any]) -> bool:
    """Return whether a span of a prompt asks for a phrase: by its place in the caption, or by its noun."""
    if prompt.kind == "caption":
        return (begin, end) == (phrase["begin"], phrase["end"])
    return prompt.text[begin:end] == phrase["root"]


def teaches_absence(labels: ImageLabels, span: slice, box: list[float]) -> bool:
    """Return whether background places in a box are negatives of a span."""
    if not labels["token_mask"][span].any():
        return False
    inside = torch.tensor([box[0], box[1], box[2] - 1, box[3] - 1])
    covering = [(boxes == inside).all(dim=1) for boxes in (labels["ignore_boxes"], labels["boxes"])]
    maps = (labels["ignore_map"], labels["positive_map"])
    return not any(bool(own[rows][:, span].all(dim=1).any()) for own, rows in zip(maps, covering))


def find_false_absence(row: dict[str, Any], view_row: Any, floor: float) -> list[str]:
    """Return the removed candidates whose place some prompt teaches as a negative of their phrase."""
    example = make_example(view_row)
    kept = {region["pass_index"] for region in view_row["regions"] if region["fate"] != "ignore"}
    removed = [r for r in row["regions"] if r["pass_index"] not in kept and r["score"] >= np.float32(floor)]
    wrong = []
    for prompt in prompts_of(example):
        labels = label(example, prompt)
        for region in removed:
            phrase, box = (
                row["phrases"][region["phrase"]],
                [region[side] for side in ("x0", "y0", "x1", "y1")],
            )
            wrong += [
                f"{prompt.kind} {prompt.text[span.begin : span.end]!r} at {box}"
                for span in prompt.spans
                if asks(prompt, span.begin, span.end, phrase)
                and teaches_absence(labels, slice(span.begin, span.end), box)
            ]
    return wrong


@st.composite
def regions(draw: st.DrawFn) -> Found:
    sides = st.integers(0, 60), st.integers(0, 60), st.integers(8, 60), st.integers(8, 60)
    scores = st.floats(0, 1, width=32)
    return draw(st.lists(st.tuples(st.integers(0, len(PHRASES)), *sides, scores), max_size=9))


def load_policy(folder: Path, text: str) -> Policy:
    path = folder / "policy.yaml"
    path.write_text(text)
    return load_settings(path, Policy)


@pytest.mark.parametrize("name", TWO_LINES)
@settings(max_examples=40)
@given(found=regions())
def test_no_place_that_a_policy_of_two_lines_removes_is_a_negative_of_its_phrase(
    tmp_path_factory: pytest.TempPathFactory, name: str, found: Found
) -> None:
    policy = load_policy(tmp_path_factory.mktemp("two"), TWO_LINES[name])
    row = evidence_row(found)

    (view_row,) = apply_policy([row], policy).rows  # type: ignore[list-item]

    assert find_false_absence(row, view_row, policy.candidate_score or 0) == []


def test_a_policy_that_drops_what_it_removes_does_teach_such_places_as_negatives(tmp_path: Path) -> None:
    row = evidence_row([(2, 4, 4, 40, 40, 0.9), (2, 60, 60, 40, 40, 0.4)])
    policy = load_policy(tmp_path, "ignore_score: null\nmin_score: 0.5\n")

    (view_row,) = apply_policy([row], policy).rows  # type: ignore[list-item]

    box = [60.0, 60.0, 100.0, 100.0]
    assert find_false_absence(row, view_row, 0) == [
        f"caption 'a lynx' at {box}", f"detection 'lynx' at {box}", f"detection 'lynx' at {box}"
    ]  # fmt: skip


def test_a_decoy_that_the_teacher_found_is_asked_by_no_prompt_as_absent(tmp_path: Path) -> None:
    decoy = len(PHRASES)
    row = evidence_row([(2, 4, 4, 40, 40, 0.9), (decoy, 60, 60, 40, 40, 0.4)])

    (view_row,) = apply_policy([row], load_policy(tmp_path, "min_score: 0.5\nnms_iou: 0.5\n")).rows  # type: ignore[list-item]
    example = make_example(view_row)

    for prompt in prompts_of(example):
        spans = [span for span in prompt.spans if prompt.text[span.begin : span.end] == "yak"]
        assert all(span.masked for span in spans)


def test_a_compiled_view_of_two_lines_ignores_or_leaves_open_all_that_it_removed(
    tmp_path: Path, write_evidence: Callable[..., Any]
) -> None:
    found = [
        [(0, 0, 0, 50, 50, 0.9), (0, 2, 0, 52, 50, 0.8), (0, 100, 0, 150, 50, 0.3), (1, 0, 0, 50, 50, 0.4)],
        [(1, 0, 0, 50, 50, 0.4)],
    ]
    write_evidence(tmp_path / "evidence", [found])
    policy = load_policy(tmp_path, "min_score: 0.5\nmax_regions_per_phrase: 2\n")

    compile_view(str(tmp_path / "evidence"), policy, str(tmp_path / "view"))

    rows = list(open_view(str(tmp_path / "view")).rows())
    fates = [[(r["phrase"], r["fate"]) for r in row["regions"]] for row in rows]
    assert fates == [[(0, "positive"), (0, "ignore"), (0, "ignore")], []]
    assert [[phrase["fate"] for phrase in row["phrases"]] for row in rows] == [
        ["positive", "unresolved"],
        ["unresolved", "unresolved"],
    ]
