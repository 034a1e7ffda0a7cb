"""What all labelers with a model class of `transformers` do alike, on a model that answers what the test says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from schemas.errors import ConfigError, OutOfMemoryError, RuntimeEnvironmentError, SampleRejectedError
from schemas.labeler import PreparedSample
from schemas.records import Region, Sample
from teacher.huggingface.images import ImageRgb, Size
from teacher.huggingface.labeler import Found, HuggingFaceLabeler, Question, Questions, select_candidates
from teacher.huggingface.settings import HuggingFaceSettings
from teacher.registry import LabelerOptions
from tests.mutations import Mutation
from tests.teacher.huggingface.grounding_dinos import make_picture, make_sample

Answer = tuple[float, int, tuple[float, float, float, float]]
"""Score, position of the phrase, and box as fractions."""


class ScriptedLabeler(HuggingFaceLabeler[HuggingFaceSettings, list[Answer], torch.Tensor]):
    """Asks for `per_pass` phrases at a time, and answers each question with the same boxes."""

    score_kind = "scripted.score"

    def __init__(self, settings: HuggingFaceSettings, answers: Sequence[Answer], per_pass: int = 2) -> None:
        self.answers, self.per_pass, self.encoded = list(answers), per_pass, 0
        super().__init__(settings, LabelerOptions(batch_size=3, min_score=0.25), "sha256:0")

    def load_model(self) -> torch.nn.Module:
        return torch.nn.Linear(1, 1)

    def ask(self, sample: Sample) -> Questions[list[Answer]]:
        return self._split([n for n, phrase in enumerate(sample.phrases) if phrase.kind != "decoy"])

    def ask_decoys(self, sample: Sample) -> Questions[list[Answer]]:
        return self._split([n for n, phrase in enumerate(sample.phrases) if phrase.kind == "decoy"])

    def _split(self, numbers: list[int]) -> Questions[list[Answer]]:
        groups = [numbers[n : n + self.per_pass] for n in range(0, len(numbers), self.per_pass)]
        return Questions(tuple(Question(tuple(group), self.answers) for group in groups), 7)

    def encode(self, images: Sequence[ImageRgb | None], size: Size) -> torch.Tensor:
        self.encoded += 1
        return self.normalize(images, size)[0]

    def answer(
        self, features: torch.Tensor, questions: Sequence[Question[list[Answer]] | None], width: int
    ) -> list[Found]:
        assert len(features) == len(questions) and width == 7
        return [self._find(question) for question in questions]

    def _find(self, question: Question[list[Answer]] | None) -> Found:
        answers = [] if question is None else [a for a in question.text if a[1] < len(question.phrases)]
        scores, phrases, boxes = zip(*answers, strict=True) if answers else ((), (), ())
        return Found(
            np.array(scores), np.array(phrases, dtype=int), np.array(boxes, dtype=float).reshape(-1, 4)
        )


@pytest.fixture
def settings(tmp_path: Path) -> HuggingFaceSettings:
    values = {"size": {"shortest_edge": 48, "longest_edge": 64}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    return HuggingFaceSettings(kind="scripted", model=str(tmp_path), device="cpu")


def prepare(labeler: ScriptedLabeler, *texts: str, size: Size = (96, 128)) -> PreparedSample:
    return labeler.prepare(make_sample(" ".join(texts), texts, size=size), make_picture(size))


def boxes(regions: Sequence[Region]) -> list[tuple[float, ...]]:
    return [(r.x0, r.y0, r.x1, r.y1) for r in regions]


WHOLE = (0.0, 0.0, 1.0, 1.0)


def test_boxes_are_pixels_of_the_stored_image_clipped_to_it(settings: HuggingFaceSettings) -> None:
    labeler = ScriptedLabeler(settings, [(0.5, 0, (0.25, 0.5, 0.5, 0.75)), (0.5, 0, (-1.0, 0.5, 2.0, 1.5))])

    regions = labeler.label([prepare(labeler, "dog"), None, None])[0]

    assert boxes(regions) == [(32, 48, 64, 72), (0, 48, 128, 96)]


def test_boxes_outside_the_image_or_without_an_area_are_left_out(settings: HuggingFaceSettings) -> None:
    outside = [
        (1.0, 0.2, 1.5, 0.4),
        (0.2, 1.1, 0.4, 1.3),
        (-0.5, 0.1, 0.0, 0.2),
        (0.5, 0.5, 0.5, 0.9),
        (0.9, 0.1, 0.1, 0.9),
    ]
    labeler = ScriptedLabeler(settings, [(0.9, 0, box) for box in outside] + [(0.9, 0, WHOLE)])

    assert boxes(labeler.label([prepare(labeler, "dog"), None, None])[0]) == [(0, 0, 128, 96)]


def test_regions_below_the_score_are_left_out(settings: HuggingFaceSettings) -> None:
    labeler = ScriptedLabeler(settings, [(score, 0, WHOLE) for score in (0.24, 0.25, 0.9)])

    assert [r.score for r in labeler.label([prepare(labeler, "dog"), None, None])[0]] == [0.25, 0.9]


@pytest.mark.parametrize(
    "answer",
    [(float("nan"), 0, WHOLE), (float("inf"), 0, WHOLE), (0.5, 0, (0.0, float("nan"), 1.0, 1.0))],
)
def test_values_that_are_not_finite_reject_the_sample(settings: HuggingFaceSettings, answer: Answer) -> None:
    labeler = ScriptedLabeler(settings, [(0.5, 0, WHOLE), answer])

    with pytest.raises(SampleRejectedError, match="TEACHER_NONFINITE"):
        labeler.label([prepare(labeler, "dog"), None, None])


def test_each_row_has_its_own_passes_and_an_image_is_encoded_once(settings: HuggingFaceSettings) -> None:
    labeler = ScriptedLabeler(settings, [(0.5, 0, WHOLE), (0.5, 1, WHOLE)])
    many, one, none = prepare(labeler, *"abcde"), prepare(labeler, "dog"), prepare(labeler)

    answers = labeler.label([one, many, none])

    assert [[(r.phrase, r.pass_index) for r in regions] for regions in answers] == [
        [(0, 0)],
        [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2)],
        [],
    ]
    assert labeler.encoded == 1
    assert labeler.label([None, None, None]) == labeler.label([none, None, None]) == [[], [], []]
    assert labeler.encoded == 1, "nothing was asked"


def test_passes_of_decoys_follow_those_of_the_other_phrases(settings: HuggingFaceSettings) -> None:
    labeler = ScriptedLabeler(settings, [(0.5, 0, WHOLE), (0.5, 1, WHOLE)])
    sample = make_sample("a b c", "abc", decoys=["star", "ring", "car"])

    asked = labeler.prepare_decoys(sample, make_picture())
    regions = labeler.label([asked, None, None])[0]

    assert asked.second_pass and not labeler.prepare(sample, make_picture()).second_pass
    assert [(r.phrase, r.pass_index) for r in regions] == [(3, 2), (4, 2), (5, 3)]


def test_the_bucket_is_the_padded_size_of_the_image_and_the_width_of_the_text(
    settings: HuggingFaceSettings,
) -> None:
    labeler = ScriptedLabeler(settings, [])

    assert prepare(labeler, "dog").bucket == prepare(labeler, size=(480, 640)).bucket == (64, 64, 7)
    assert prepare(labeler, "dog", size=(30, 90)).bucket == (32, 64, 7)


def test_every_box_and_phrase_with_enough_score_is_a_candidate_and_no_number_is_hidden() -> None:
    scores = np.array([[0.9, 0.8], [0.1, np.nan], [0.3, 0.1]])

    found = select_candidates(scores, np.arange(12.0).reshape(3, 4), 0.3)

    assert found.phrases_N.tolist() == [0, 1, 1, 0] and found.boxes_N4[:, 0].tolist() == [0, 0, 4, 8]
    assert np.array_equal(found.scores_N, [0.9, 0.8, np.nan, 0.3], equal_nan=True)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("full"), MemoryError("full"), RuntimeError("can't allocate memory")]
)
def test_memory_errors_of_torch_are_ours_and_others_stay(
    settings: HuggingFaceSettings, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    labeler = ScriptedLabeler(settings, [])

    def fail(*_: object) -> torch.Tensor:
        raise error

    monkeypatch.setattr(labeler, "encode", fail)
    with pytest.raises(OutOfMemoryError):
        labeler.label([prepare(labeler, "dog"), None, None])
    error = RuntimeError("shape mismatch")
    with pytest.raises(RuntimeError, match="shape mismatch"):
        labeler.label([prepare(labeler, "dog"), None, None])


def test_what_the_machine_cannot_do_is_refused_when_the_model_is_loaded(
    settings: HuggingFaceSettings,
) -> None:
    with pytest.raises(ConfigError, match="fp16, which needs a GPU; use bf16 or fp32"):
        ScriptedLabeler(settings.model_copy(update={"precision": "fp16"}), [])
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeEnvironmentError, match="device is cuda and this process sees no GPU"):
            ScriptedLabeler(settings.model_copy(update={"device": "cuda"}), [])


FILE = "teacher/huggingface/labeler.py"
OUTSIDE = test_boxes_outside_the_image_or_without_an_area_are_left_out.__name__
PASSES = test_each_row_has_its_own_passes_and_an_image_is_encoded_once.__name__
CANDIDATES = test_every_box_and_phrase_with_enough_score_is_a_candidate_and_no_number_is_hidden.__name__
FINITE = test_values_that_are_not_finite_reject_the_sample.__name__
DECOYS = test_passes_of_decoys_follow_those_of_the_other_phrases.__name__
MEMORY = test_memory_errors_of_torch_are_ours_and_others_stay.__name__
RUNNING = "teacher/huggingface/running.py"
MACHINE = test_what_the_machine_cannot_do_is_refused_when_the_model_is_loaded.__name__
MUTATIONS = (
    Mutation(
        FILE,
        "clip(scaled_N4, width, height)",
        "scaled_N4",
        test_boxes_are_pixels_of_the_stored_image_clipped_to_it.__name__,
    ),
    Mutation(
        FILE,
        "np.array([*frame[::-1], *frame[::-1]])",
        "np.array([*frame, *frame])",
        test_boxes_are_pixels_of_the_stored_image_clipped_to_it.__name__,
    ),
    Mutation(FILE, "(boxes_N4[:, 2] > boxes_N4[:, 0]) & ", "", OUTSIDE),
    Mutation(FILE, " & (boxes_N4[:, 3] > boxes_N4[:, 1])", "", OUTSIDE),
    Mutation(
        FILE,
        "inside_N & (found.scores_N >= min_score)",
        "inside_N",
        test_regions_below_the_score_are_left_out.__name__,
    ),
    Mutation(FILE, "values = (found.scores_N, found.boxes_N4,", "values = (found.boxes_N4,", FINITE),
    Mutation(FILE, "values = (found.scores_N, found.boxes_N4,", "values = (found.scores_N,", FINITE),
    Mutation(FILE, "~(scores_QP < min_score)", "scores_QP >= min_score", CANDIDATES),
    Mutation(
        FILE,
        "~(scores_QP < min_score)",
        "~(scores_QP < min_score) & ~(scores_QP < scores_QP.max(axis=1)[:, None])",
        CANDIDATES,
    ),
    Mutation(FILE, "pass_index=row.first_pass + index", "pass_index=index", DECOYS),
    Mutation(FILE, ", second_pass=True", "", DECOYS),
    Mutation(FILE, "or passes == 0", "", PASSES),
    Mutation(FILE, "and index < len(row.questions)", "", PASSES),
    Mutation(
        FILE,
        "bucket=(*padded, asked.width)",
        "bucket=(*padded, 0)",
        test_the_bucket_is_the_padded_size_of_the_image_and_the_width_of_the_text.__name__,
    ),
    Mutation(RUNNING, "except (torch.OutOfMemoryError, MemoryError)", "except MemoryError", MEMORY),
    Mutation(RUNNING, """ or "can't allocate memory" in str(error)""", "", MEMORY),
    Mutation(RUNNING, 'if settings.precision == "fp16" and device.type != "cuda":', "if False:", MACHINE),
    Mutation(RUNNING, 'if name == "cuda" and not torch.cuda.is_available():', "if False:", MACHINE),
)
