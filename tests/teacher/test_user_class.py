"""A class of the user as teacher: the documented ten lines label, and its digest covers the files it reads."""

import itertools
import sys
import types

import numpy as np
import pytest

from schemas.errors import ConfigError, RuntimeEnvironmentError, SampleRejectedError
from teacher.factories import labeler_digest, make_labeler
from tests.mutations import Mutation
from tests.teacher.test_glip_labeler import picture, sample_of

NUMBERS = itertools.count()
MUTATIONS = (
    Mutation(
        "teacher/registry.py",
        '"files": model_digests(Path(settings.model)) if settings.model else {},',
        '"files": {},',
        "test_the_digest_covers_the_models_files_whatever_the_class_says",
    ),
    Mutation(
        "teacher/user_class.py",
        "if len(numbers) != 4 or not 0 <= place < phrases:",
        "if len(numbers) != 4:",
        "test_an_answer_of_another_form_ends_the_run",
    ),
)


class LeftHalf:
    digest = "left half, version 1"
    score_kind = "left_half.share"

    def __init__(self, model: str, **options):
        self.score = options.get("score", 0.9)

    def find(self, image_rgb_u8, phrases):
        height, width = image_rgb_u8.shape[:2]
        for number in range(len(phrases)):
            yield number, (0, 0, width / 2, height), self.score


@pytest.fixture
def kind(monkeypatch):
    """Return a function that names a class as `module:Class`."""

    def name_of(user_class):
        module = types.ModuleType(f"user_module_{next(NUMBERS)}")  # the registry keeps what it has loaded
        setattr(module, user_class.__name__, user_class)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return f"{module.__name__}:{user_class.__name__}"

    return name_of


def label(kind, **settings):
    labeler = make_labeler({"kind": kind, **settings}, 2, 0.05)
    sample = sample_of("a red dog and a cat", "a red dog", "a cat", width=80, height=60)
    return labeler.label([labeler.prepare(sample, picture(60, 80)), None])


def answering(*answers):
    """Return a class that gives these answers."""
    return type("Answering", (LeftHalf,), {"find": lambda self, image, phrases: iter(answers)})


def test_every_phrase_gets_the_boxes_that_the_class_yields(kind):
    regions, blank = label(kind(LeftHalf))

    assert [(r.phrase, r.x0, r.x1, r.y1, r.score) for r in regions] == [
        (0, 0, 40, 60, 0.9),
        (1, 0, 40, 60, 0.9),
    ]
    assert blank == []


def test_options_reach_the_class_and_the_digest(kind):
    name = kind(LeftHalf)

    regions, _ = label(name, options={"score": 0.3})

    assert {region.score for region in regions} == {0.3}
    assert labeler_digest({"kind": name}) != labeler_digest({"kind": name, "options": {"score": 0.3}})


def test_the_digest_covers_the_models_files_whatever_the_class_says(kind, tmp_path):
    settings = {"kind": kind(LeftHalf), "model": str(tmp_path / "model.bin")}
    (tmp_path / "model.bin").write_bytes(b"one")
    before = labeler_digest(settings)
    (tmp_path / "model.bin").write_bytes(b"two")

    assert labeler_digest(settings) != before
    assert make_labeler(settings, 1, 0.0).digest == labeler_digest(settings)


def test_boxes_are_clipped_and_weak_ones_left_out(kind):
    found = answering((0, (-5, -5, 500, 500), 0.5), (0, (0, 0, 9, 9), 0.01), (1, (90, 0, 95, 9), 0.9))

    regions, _ = label(kind(found))

    assert [(r.phrase, r.x0, r.y0, r.x1, r.y1) for r in regions] == [(0, 0, 0, 80, 60)]


@pytest.mark.parametrize(
    "answer",
    [
        (2, (0, 0, 9, 9), 0.5),
        (-1, (0, 0, 9, 9), 0.5),
        (0, (0, 0, 9), 0.5),
        (0, (0, 0, 9, 9), 7),
        None,
        (0, "box", 0.5),
    ],
)
def test_an_answer_of_another_form_ends_the_run(kind, answer):
    with pytest.raises(RuntimeEnvironmentError, match=r"find\(\) gave .*; expected \(number of a phrase"):
        label(kind(answering(answer)))


def test_a_score_that_is_not_finite_rejects_the_sample(kind):
    with pytest.raises(SampleRejectedError, match="not finite"):
        label(kind(answering((0, (0, 0, np.nan, 9), 0.5))))


def test_a_class_without_a_digest_is_refused_with_the_remedy(kind):
    class NoDigest:
        def find(self, image_rgb_u8, phrases):
            return []

    with pytest.raises(ConfigError, match="has no `digest`; give it a text that you change"):
        make_labeler({"kind": kind(NoDigest)}, 1, 0.0)


def test_decoys_are_asked_in_a_pass_of_their_own(kind):
    labeler = make_labeler({"kind": kind(LeftHalf)}, 1, 0.0)
    sample = sample_of("a dog", "a dog", width=80, height=60)
    decoy = sample.phrases[0].model_copy(
        update={"begin": None, "end": None, "text": "zebra", "kind": "decoy"}
    )
    sample = sample.model_copy(update={"phrases": (*sample.phrases, decoy)})

    regions = labeler.label([labeler.prepare_decoys(sample, picture(60, 80))])[0]

    assert [(region.phrase, region.pass_index) for region in regions] == [(1, 1)]
