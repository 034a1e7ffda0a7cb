"""The teacher `omdet-turbo` on a tiny model: class scores, questions, other samples of a batch, hostile texts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from teacher.factories import make_labeler
from tests.mutations import Mutation
from tests.teacher.huggingface.tiny_omdet_sam import (
    WORDS,
    assert_same_regions,
    make_picture,
    make_sample,
    numbers_of,
    save_omdet_turbo,
    scale_to_image,
)

QUERIES = 20
TEXTS = ("a red dog", "the cat", "dogs", "a blue car of the horse")
LABELER, IMAGES = "teacher/labelers/omdet_turbo.py", "teacher/huggingface/images.py"
TEXT_IDS = "teacher/huggingface/text_ids.py"

MUTATIONS = (
    Mutation(IMAGES, 'if values.get("do_rescale") is False:', "if False:", "test_regions_are_a_direct_reading"),
    Mutation(
        LABELER, "*[text.classes[-1]] *", "*[self._tokenizer.blank] *", "test_regions_are_a_direct_reading"
    ),
    Mutation(LABELER, ".text.longest() <= self._limit", " is not None", "test_a_phrase_that_no_question_holds"),
    Mutation(LABELER, "if len(numbers) > self.settings.classes_per_question:", "if False:",
             "test_many_phrases_are_asked_in_several_questions"),
    Mutation(LABELER, "if not self._tokenizer.encode(sample.phrases[number].text):", "if False:",
             "test_a_phrase_without_a_token"),
    Mutation(LABELER, "(*groups, *decoy_groups)", "self._group(sample, range(len(sample.phrases)))[0]",
             "test_decoys_change_no_region_of_a_phrase"),
    Mutation(LABELER, "        self._encode_texts.cache_clear()\n", "", "test_closing_forgets_the_features_of_texts"),
    Mutation(TEXT_IDS, " if number not in self._marks", "", "test_no_text_can_end_early"),
    Mutation(TEXT_IDS, "split_special_tokens=self._spells", "split_special_tokens=False",
             "test_special_tokens_are_spelled_out"),
)  # fmt: skip


@pytest.fixture(scope="session")
def omdet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_omdet_turbo(tmp_path_factory.mktemp("omdet"), queries=QUERIES)


def build(folder: Path, batch_size: int = 1, min_score: float = 0.0, **settings):
    return make_labeler({"kind": "omdet-turbo", "model": str(folder), **settings}, batch_size, min_score)


@pytest.fixture(scope="module")
def teacher(omdet_folder):
    return build(omdet_folder)


def ask(teacher, *texts: str, seed: int = 0, **more):
    return teacher.prepare(make_sample(*texts, **more), make_picture(seed))


def read_directly(folder: Path, image: np.ndarray, texts: tuple[str, ...]) -> np.ndarray:
    """Return rows (phrase, box, score) of every query and class, as the published usage feeds the model."""
    from transformers import AutoTokenizer, OmDetTurboForObjectDetection
    from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil

    settings = json.loads((folder / "preprocessor_config.json").read_text())
    pixels = DetrImageProcessorPil(**settings, do_pad=False)(image, return_tensors="pt")["pixel_values"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    options = {"padding": "max_length", "truncation": True, "max_length": 77, "return_tensors": "pt"}
    classes = tokenizer(list(texts), **options)
    task = tokenizer([f"Detect {', '.join(texts)}."], **options)
    model = OmDetTurboForObjectDetection.from_pretrained(folder).eval()
    with torch.no_grad():
        outputs = model(
            pixel_values=pixels,
            classes_input_ids=classes["input_ids"],
            classes_attention_mask=classes["attention_mask"],
            tasks_input_ids=task["input_ids"],
            tasks_attention_mask=task["attention_mask"],
            classes_structure=torch.tensor([len(texts)]),
        )
    x, y, w, h = outputs.decoder_coord_logits[0].numpy().T
    boxes = scale_to_image(np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1))
    scores = outputs.decoder_class_logits[0].sigmoid().numpy()
    rows = [
        (phrase, *box, scores[query, phrase])
        for query, box in enumerate(boxes)
        for phrase in range(len(texts))
        if box[2] > box[0] and box[3] > box[1]
    ]
    return np.array(rows)


def test_regions_are_a_direct_reading_of_the_class_logits(omdet_folder, teacher):
    regions = teacher.label([ask(teacher, *TEXTS[:3])])[0]

    expected = read_directly(omdet_folder, make_picture(), TEXTS[:3])
    np.testing.assert_allclose(numbers_of(regions)[:, :6], expected, atol=1e-4, rtol=0)
    assert teacher.score_kind == "omdet_turbo.sigmoid"
    assert len({round(region.score, 4) for region in regions}) > 10, "the reading can tell queries apart"


def test_no_pair_of_query_and_phrase_takes_the_place_of_another(teacher):
    regions = teacher.label([ask(teacher, *TEXTS)])[0]

    counts = [sum(region.phrase == phrase for region in regions) for phrase in range(len(TEXTS))]
    assert len(regions) > QUERIES and counts == [counts[0]] * len(TEXTS)


def test_regions_below_the_score_are_left_out(omdet_folder, teacher):
    everything = numbers_of(teacher.label([ask(teacher, *TEXTS)])[0])
    middle = float(np.median(everything[:, 5]))

    kept = numbers_of(build(omdet_folder, min_score=middle).label([ask(teacher, *TEXTS)])[0])

    np.testing.assert_array_equal(kept, everything[everything[:, 5] >= middle])


def test_a_sample_gets_the_same_regions_whatever_shares_its_batch(omdet_folder, teacher):
    batched = build(omdet_folder, batch_size=4)
    samples = [ask(teacher, *TEXTS[:count], seed=count) for count in (1, 2, 4)]

    alone = [teacher.label([sample])[0] for sample in samples]
    together = batched.label([samples[0], None, samples[1], samples[2]])
    blanks = batched.label([None, samples[2], None, None])

    for one, many in zip(alone, [together[0], together[2], together[3]], strict=True):
        assert_same_regions(many, one)
    assert_same_regions(blanks[1], alone[2])
    assert together[1] == blanks[0] == []
    assert batched.label([None] * 4) == [[]] * 4 == batched.label([ask(teacher), None, None, None])


def test_regions_do_not_depend_on_earlier_batches(omdet_folder, teacher):
    fresh = build(omdet_folder)
    sample = ask(teacher, *TEXTS)

    first = fresh.label([sample])
    fresh.label([ask(teacher, *TEXTS[:2], seed=1)])

    assert fresh.label([sample]) == first


def test_a_phrase_alone_has_other_scores_than_in_company_unless_each_is_asked_alone(omdet_folder, teacher):
    single = build(omdet_folder, classes_per_question=1)

    alone, company = (teacher.label([ask(teacher, *texts)])[0] for texts in (TEXTS[1:2], TEXTS))
    apart = single.label([ask(single, *TEXTS)])[0]

    own = numbers_of([region for region in company if region.phrase == 1])
    assert np.abs(own[:, 5] - numbers_of(alone)[:, 5]).max() > 1e-3, "the model itself does so"
    asked_alone = numbers_of([region for region in apart if region.phrase == 1])
    np.testing.assert_allclose(asked_alone[:, 1:], numbers_of(alone)[:, 1:], atol=1e-4, rtol=0)
    assert {region.pass_index for region in apart} == {0, 1, 2, 3}


def test_many_phrases_are_asked_in_several_questions_each_whole_in_one(omdet_folder, teacher):
    texts = tuple(f"the {word}" for word in WORDS[2:12])
    small = build(omdet_folder, classes_per_question=4)
    sample = make_sample(*texts)

    asked = small.prepare(sample, make_picture())

    questions = asked.inputs.questions
    assert [question.phrases for question in questions] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9)]
    for question in questions:
        names = ", ".join(texts[phrase] for phrase in question.phrases)
        assert question.text.sentence == small._tokenizer.encode(f"Detect {names}.")
        assert question.text.classes == tuple(
            small._tokenizer.encode(texts[phrase]) for phrase in question.phrases
        )
    regions = small.label([asked])[0]
    assert {(region.phrase, region.pass_index) for region in regions} == {(n, n // 4) for n in range(10)}


def test_no_sentence_is_longer_than_the_model_reads(teacher):
    texts = tuple(f"a big red dog of the blue car number {number}" for number in range(12))

    asked = teacher.prepare(make_sample(*texts), make_picture())

    questions = asked.inputs.questions
    assert len(questions) > 1 and asked.dropped == ()
    assert [phrase for question in questions for phrase in question.phrases] == list(range(12))
    assert all(question.text.longest() <= 77 for question in questions)
    assert {region.phrase for region in teacher.label([asked])[0]} == set(range(12))


def test_a_phrase_that_no_question_holds_is_reported_and_the_others_answered(teacher):
    asked = ask(teacher, "the cat", "red " * 80 + "dog", "a dog")

    assert asked.dropped == ((1, "PH_TOO_LONG"),)
    assert {region.phrase for region in teacher.label([asked])[0]} == {0, 2}


def test_a_phrase_without_a_token_is_reported_not_scored(teacher):
    asked = ask(teacher, "the cat", "\u200a ", "a dog")

    assert asked.dropped == ((1, "PH_NO_TOKEN"),)
    assert {region.phrase for region in teacher.label([asked])[0]} == {0, 2}


def test_repeated_phrases_keep_their_own_boxes(teacher):
    regions = teacher.label([ask(teacher, "a dog", "the cat", "a dog")])[0]

    first, last = (numbers_of([r for r in regions if r.phrase == phrase]) for phrase in (0, 2))
    np.testing.assert_allclose(first[:, 1:], last[:, 1:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("special", ["<|endoftext|>", "<|startoftext|>", "<|EndOfText|>"])
def test_special_tokens_are_spelled_out_in_a_text(teacher, special):
    plain, hostile = (teacher._tokenizer.encode(f"red {word} dog") for word in ("", special))

    assert len(hostile) > len(plain) and hostile[-2] == plain[-2]
    assert {region.phrase for region in teacher.label([ask(teacher, f"{special} dog", "a cat")])[0]} == {0, 1}


def test_no_text_can_end_early(teacher):
    ids = teacher._tokenizer.encode(
        "a \u00e9 <|endoftext|> dog"
    )  # the small vocabulary reads \u00e9 as the end

    assert ids.count(ids[0]) == ids.count(ids[-1]) == 1


def test_the_image_is_encoded_once_for_all_questions_of_a_batch(omdet_folder):
    small = build(omdet_folder, batch_size=2, classes_per_question=1)
    calls = []
    for part in (small.model.vision_backbone, small.model.encoder):
        part.register_forward_hook(lambda module, *rest: calls.append(type(module).__name__))

    small.label([ask(small, *TEXTS), ask(small, "a dog", seed=1)])

    assert calls == ["OmDetTurboVisionBackbone", "OmDetTurboHybridEncoder"]


def test_texts_that_are_asked_again_are_not_encoded_again(omdet_folder):
    teacher = build(omdet_folder)
    calls = []
    teacher.model.language_backbone.model.register_forward_hook(lambda *_: calls.append(1))

    for seed in range(3):
        teacher.label([ask(teacher, *TEXTS, seed=seed)])

    assert len(calls) == 1


def test_closing_forgets_the_features_of_texts(omdet_folder):
    teacher = build(omdet_folder)
    teacher.label([ask(teacher, "a dog")])

    teacher.close()

    assert teacher._encode_texts.cache_info().currsize == 0


def test_decoys_change_no_region_of_a_phrase(teacher):
    plain, more = (make_sample("a red dog", "the cat", decoys=decoys) for decoys in ((), ("horse", "car")))

    alone = teacher.label([teacher.prepare(plain, make_picture())])[0]
    fused = teacher.label([teacher.prepare(more, make_picture())])[0]

    assert [region for region in fused if region.phrase < 2] == alone
    assert {(region.phrase, region.pass_index) for region in fused if region.phrase >= 2} == {(2, 1), (3, 1)}


def test_decoys_are_asked_in_the_company_of_the_other_phrases(omdet_folder, teacher):
    sample = make_sample("a red dog", "the cat", decoys=("horse", "car"))

    asked = teacher.prepare_decoys(sample, make_picture())
    regions = teacher.label([asked])[0]

    assert asked.second_pass and {(r.phrase, r.pass_index) for r in regions} == {(2, 1), (3, 1)}
    expected = read_directly(omdet_folder, make_picture(), ("a red dog", "the cat", "horse", "car"))
    decoys = expected[expected[:, 0] >= 2]
    np.testing.assert_allclose(numbers_of(regions)[:, :6], decoys, atol=1e-4, rtol=0)


def test_decoys_that_fill_a_question_are_asked_without_company(omdet_folder):
    small = build(omdet_folder, classes_per_question=2)
    sample = make_sample("a red dog", decoys=("horse", "red " * 80, "car"))

    asked = small.prepare_decoys(sample, make_picture())

    assert asked.dropped == ((2, "PH_TOO_LONG"),)
    assert [(len(q.text.classes), q.phrases) for q in asked.inputs.questions] == [(2, (1, 3))]
