"""Grounding DINO and MM-Grounding-DINO as teachers: regions from the logits of each phrase's own tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from schemas.labeler import DecoyLabeler, PreparedSample
from tests.mutations import Mutation
from tests.teacher.huggingface.grounding_dinos import (
    CAPTION,
    TEXTS,
    TinyDino,
    as_rows,
    check_same,
    find_spans,
    join,
    label,
    load_plainly,
    make_picture,
    make_sample,
    prepare,
    read_directly,
)

DOT, QUESTION, SEP = 1012, 1029, 102
PROMPT = "a red dog. two cats. the horse."


def token_ids(row: PreparedSample) -> list[list[int]]:
    """Return the token ids of each question."""
    return [list(question.text.input_ids) for question in row.inputs.questions]


@pytest.mark.parametrize("size", [(96, 128), (128, 96), (300, 400), (16, 512), (90, 128)])
@pytest.mark.parametrize("pool", ["max", "mean"])
def test_regions_are_the_models_logits_of_the_phrases_own_tokens(
    dino: TinyDino, size: tuple[int, int], pool: str
) -> None:
    labeler = dino.build(pool=pool)

    regions = label(labeler, prepare(labeler, size=size))

    direct = read_directly(
        dino, make_picture(size), PROMPT, find_spans(PROMPT, ["a red dog", "two cats", "the horse"]), pool
    )
    check_same(as_rows(regions, size), direct)


def test_only_regions_with_enough_score_are_returned(dino: TinyDino) -> None:
    everything = as_rows(label(dino.build(), prepare(dino.build())))
    floor = float(np.median(everything[:, 2]))
    labeler = dino.build(min_score=floor)

    check_same(as_rows(label(labeler, prepare(labeler))), everything[everything[:, 2] >= floor])


def test_a_one_word_prompt_agrees_with_the_post_processing_of_transformers(dino: TinyDino) -> None:
    from transformers import GroundingDinoProcessor

    images, tokenizer, model = load_plainly(dino.folder)
    processor = GroundingDinoProcessor(images, tokenizer)
    size = (128, 192)  # no resizing and no padding
    inputs = processor(images=make_picture(size), text=[["dog"]], return_tensors="pt")
    with torch.inference_mode():
        outputs = model(**inputs)
    theirs = processor.post_process_grounded_object_detection(outputs, threshold=0.0, target_sizes=[size])[0]
    labeler = dino.build()

    regions = label(labeler, prepare(labeler, "dog", ("dog",), size))

    boxes = theirs["boxes"].numpy().clip(0, [192, 128, 192, 128])
    own = np.array([(r.x0, r.y0, r.x1, r.y1) for r in regions])
    check_same(own / 192, boxes / 192)
    best = (outputs.logits[0].argmax(dim=1) == 1).numpy()  # [CLS] dog . [SEP]
    nearest = np.abs(own[:, None] - boxes[None]).max(axis=2).argmin(axis=1)
    scores = np.array([r.score for r in regions])
    assert best.any()
    assert scores[best[nearest]] == pytest.approx(theirs["scores"].numpy()[nearest][best[nearest]], abs=1e-5)
    assert (scores <= theirs["scores"].numpy()[nearest] + 1e-5).all(), "theirs is the best of all tokens"


def test_a_batch_of_many_gives_each_sample_what_it_gets_alone(dino: TinyDino) -> None:
    """Different images of one bucket, different numbers of phrases and passes, captions of different length, blanks."""
    labeler = dino.build(batch_size=5)
    words = [f"{color} {noun}" for color in ("red", "blue", "green") for noun in ("dog", "cat", "car")]
    alone = [(100, 150), (96, 128), (120, 192), (99, 140)]
    captions = [
        ("dog", ["dog"]),
        (CAPTION, list(TEXTS)),
        join(*words),
        ("the left horse", ["the left horse"]),
    ]
    rows = [
        prepare(labeler, *caption, size=size, seed=seed)
        for seed, (caption, size) in enumerate(zip(captions, alone, strict=True))
    ]
    rows[2] = labeler.prepare(
        make_sample(*captions[2], decoys=["star", "ring"], size=alone[2]), make_picture(alone[2], 2)
    )
    assert {row.bucket for row in rows} == {(128, 192, 32)}

    for batch in ([*rows, None], [None, *rows[::-1]]):
        answers = dict(zip([id(row) for row in batch], labeler.label(batch), strict=True))
        for row, size in zip(rows, alone, strict=True):
            single = dino.build().label([row])[0]
            check_same(as_rows(answers[id(row)], size), as_rows(single, size))


def test_the_bucket_depends_on_the_samples_own_image_and_text(dino: TinyDino) -> None:
    labeler = dino.build(pad_multiple=64)
    many = join(*[f"{color} dog" for color in ("red", "blue", "green")] * 4)

    assert prepare(labeler).bucket == prepare(labeler, "dog", ("dog",), seed=3).bucket == (128, 192, 32)
    assert prepare(labeler, size=(128, 96)).bucket == (192, 128, 32)
    assert prepare(labeler, *many).bucket == (128, 192, 64)
    assert prepare(dino.build(pad_multiple=16), size=(100, 128)).bucket == (128, 176, 32)


def test_every_prompt_ends_with_one_full_stop(dino: TinyDino) -> None:
    labeler = dino.build(prompt="caption")

    for caption in ("a dog", "a dog.", "a dog. ", "a dog?", "a dog!"):
        ids = token_ids(prepare(labeler, caption, ("a dog",)))[0]
        assert ids[-2:] == [DOT, SEP] and ids.count(DOT) == 1


def test_a_full_stop_or_a_question_mark_inside_a_phrase_does_not_cut_it(dino: TinyDino) -> None:
    labeler = dino.build()
    texts = ["a red. dog", "what? cats", "the horse."]

    row = prepare(labeler, *join(*texts))

    (ids,) = token_ids(row)
    assert ids.count(DOT) == 3 and ids.count(QUESTION) == 0
    prompt = "a red  dog. what  cats. the horse ."
    spans = find_spans(prompt, ["a red  dog", "what  cats", "the horse"])
    check_same(as_rows(label(labeler, row)), read_directly(dino, make_picture(), prompt, spans))


def test_more_phrases_than_tokens_are_asked_in_several_passes_and_none_is_cut(dino: TinyDino) -> None:
    labeler = dino.build()
    texts = [f"{color} {noun} on left" for color in ("red", "blue", "green") for noun in ("dog", "cat")] * 11
    long = "red " * 255 + "dog"

    row = prepare(labeler, *join(*texts, long))

    assert row.dropped == ((66, "PH_TOO_LONG"),)
    first, second = row.inputs.questions
    assert (*first.phrases, *second.phrases) == tuple(range(66))
    assert all(len(own) == 4 for question in (first, second) for own in question.text.tokens)
    assert [len(ids) <= 256 for ids in token_ids(row)] == [True, True] and row.bucket[2] == 256
    regions = label(labeler, row)
    assert {(r.phrase, r.pass_index) for r in regions} == {(n, int(n in second.phrases)) for n in range(66)}
    prompt = ". ".join(texts[n] for n in second.phrases) + "."
    direct = read_directly(
        dino, make_picture(), prompt, find_spans(prompt, [texts[n] for n in second.phrases])
    )
    direct[:, 0] += len(first.phrases)
    direct[:, 1] = 1
    check_same(as_rows([r for r in regions if r.pass_index == 1]), direct)


def test_special_tokens_in_a_caption_are_no_tokens(dino: TinyDino) -> None:
    labeler = dino.build()

    row = prepare(labeler, *join("a [SEP] dog", "[sep]", "a [PAD][CLS] cat"))

    (ids,) = token_ids(row)
    assert row.dropped == ((1, "PH_NO_TOKEN"),)
    assert ids.count(SEP) == 1 and ids.count(101) == 1 and 0 not in ids and 100 not in ids
    assert {r.phrase for r in label(labeler, row)} == {0, 2}


def test_a_phrase_without_a_token_is_dropped_and_the_others_are_asked(dino: TinyDino) -> None:
    labeler = dino.build()

    row = prepare(labeler, *join("a dog", "?.", "\u200b\u200b", "a cat"))
    nothing = prepare(labeler, "??", ("??",))

    assert row.dropped == ((1, "PH_NO_TOKEN"), (2, "PH_NO_TOKEN"))
    assert {r.phrase for r in label(labeler, row)} == {0, 3}
    assert nothing.dropped == ((0, "PH_NO_TOKEN"),) and nothing.inputs.questions == ()
    assert label(labeler, nothing) == []


def test_upper_case_changes_nothing(dino: TinyDino) -> None:
    labeler = dino.build()
    upper = prepare(labeler, CAPTION.upper(), [text.upper() for text in TEXTS])

    assert label(labeler, upper) == label(labeler, prepare(labeler))


def test_repeated_phrases_keep_boxes_of_their_own_and_phrases_share_boxes(dino: TinyDino) -> None:
    labeler = dino.build()

    rows = as_rows(label(labeler, prepare(labeler, *join("a dog", "two cats", "a dog"))))

    own = [rows[rows[:, 0] == phrase] for phrase in range(3)]
    assert len({len(part) for part in own}) == 1 and len(own[0]) >= 20
    for part in own[1:]:  # the same boxes for each phrase
        check_same(part[:, 3:], own[0][:, 3:])
    check_same(own[2][:, 2:], own[0][:, 2:])


def test_decoys_have_a_pass_of_their_own_that_changes_no_other_region(dino: TinyDino) -> None:
    labeler = dino.build()
    assert isinstance(labeler, DecoyLabeler)
    sample, image = make_sample(decoys=["star", "green ring"]), make_picture()

    asked = labeler.prepare_decoys(sample, image)
    together = label(labeler, labeler.prepare(sample, image))

    assert asked.second_pass and {(r.phrase, r.pass_index) for r in label(labeler, asked)} == {(3, 1), (4, 1)}
    assert [r for r in together if r.phrase < 3] == label(labeler, prepare(labeler))
    prompt = f"{PROMPT[:-1]}. star. green ring."
    direct = read_directly(dino, image, prompt, find_spans(prompt, ["star", "green ring"]))
    direct[:, :2] += (3, 1)
    check_same(as_rows(label(labeler, asked)), direct)


def test_each_prompt_mode_asks_its_own_text(dino: TinyDino) -> None:
    modes = {mode: dino.build(prompt=mode) for mode in ("phrases", "auto", "caption")}
    long = join(*["a red dog", "two cats"] * 40)

    short = {mode: as_rows(label(labeler, prepare(labeler))) for mode, labeler in modes.items()}
    texts = {mode: token_ids(prepare(labeler, *long)) for mode, labeler in modes.items()}

    prompt = CAPTION.lower() + "."
    direct = read_directly(dino, make_picture(), prompt, find_spans(prompt, [text.lower() for text in TEXTS]))
    check_same(short["auto"], direct)
    check_same(short["caption"], direct)
    assert not np.allclose(short["phrases"][:, 2], short["auto"][:, 2], atol=1e-3)
    assert texts["auto"] == texts["phrases"] and texts["caption"] != texts["phrases"]
    assert [ids.count(DOT) for ids in texts["caption"]] == [1, 1]


def test_half_precision_runs_and_gives_nearby_scores(dino: TinyDino) -> None:
    full, half = (dino.build(precision=precision) for precision in ("fp32", "bf16"))
    rows, others = (as_rows(label(labeler, prepare(labeler))) for labeler in (full, half))

    assert len(others) == len(rows) and np.isfinite(others).all()
    assert 0 < np.abs(np.sort(rows[:, 2]) - np.sort(others[:, 2])).max() < 0.6
    assert full.digest != half.digest


LABELER = "teacher/labelers/grounding_dino.py"
BASE = "teacher/huggingface/labeler.py"
TEXT = "teacher/huggingface/prompt_text.py"
READ = test_regions_are_the_models_logits_of_the_phrases_own_tokens.__name__
DROPPED = test_a_phrase_without_a_token_is_dropped_and_the_others_are_asked.__name__
DECOYS = test_decoys_have_a_pass_of_their_own_that_changes_no_other_region.__name__
BATCH = test_a_batch_of_many_gives_each_sample_what_it_gets_alone.__name__
MUTATIONS = (
    Mutation(LABELER, "token_scores_QT[:, list(own)]", "token_scores_QT", READ),
    Mutation(LABELER, 'np.max if self.settings.pool == "max" else np.mean', "np.max", READ),
    Mutation(
        LABELER, "center_to_corners(to_numpy(outputs.pred_boxes))", "to_numpy(outputs.pred_boxes)", READ
    ),
    Mutation(LABELER, "pixel_mask=features.pixel_mask", "pixel_mask=None", READ),
    Mutation(LABELER, "mask[row, : len(own)] = 1", "mask[row] = 1", READ),
    Mutation(LABELER, "self._read(question, *row)", "self._read(questions[0], *row)", BATCH),
    Mutation(LABELER, "choose_width(len(text.input_ids), self._limit)", "len(text.input_ids)", BATCH),
    Mutation(LABELER, "(*plan.dropped, *missed)", "plan.dropped", DROPPED),
    Mutation(LABELER, " for text in texts if text.phrases)", " for text in texts)", DROPPED),
    Mutation(LABELER, "pack_decoys(sample.caption,", "pack(sample.caption,", DECOYS),
    Mutation(
        LABELER,
        "pack(sample.caption, sample.phrases, self._tokenizer.budget, self.settings.prompt)",
        "pack(sample.caption, sample.phrases, self._tokenizer.budget, 'phrases')",
        test_each_prompt_mode_asks_its_own_text.__name__,
    ),
    Mutation(
        BASE,
        "(resized.shape[0], resized.shape[1]), self.settings.pad_multiple\n        )",
        "(resized.shape[0], resized.shape[1]), 1\n        )",
        test_the_bucket_depends_on_the_samples_own_image_and_text.__name__,
    ),
    Mutation(
        TEXT,
        "cleaned if cleaned.rstrip().endswith(END) else cleaned + END",
        "cleaned",
        test_every_prompt_ends_with_one_full_stop.__name__,
    ),
    Mutation(
        TEXT,
        "cleaned if cleaned.rstrip().endswith(END) else cleaned + END",
        "cleaned + END",
        test_every_prompt_ends_with_one_full_stop.__name__,
    ),
    Mutation(
        TEXT,
        "if characters[place] in _SEPARATORS:",
        "if False:",
        test_a_full_stop_or_a_question_mark_inside_a_phrase_does_not_cut_it.__name__,
    ),
    Mutation(
        TEXT,
        'text = text.replace(special, " " * len(special))',
        "pass",
        test_special_tokens_in_a_caption_are_no_tokens.__name__,
    ),
    Mutation(
        TEXT,
        "self.budget = Budget(limit, self.count)",
        "self.budget = Budget(10**6, self.count)",
        test_more_phrases_than_tokens_are_asked_in_several_passes_and_none_is_cut.__name__,
    ),
    Mutation(
        BASE,
        "~(scores_QP < min_score)",
        "~(scores_QP < min_score) & ~(scores_QP < scores_QP.max(axis=-1, keepdims=True))",
        test_repeated_phrases_keep_boxes_of_their_own_and_phrases_share_boxes.__name__,
    ),
    Mutation(
        "teacher/huggingface/running.py",
        'if precision == "fp32":',
        "if True:",
        test_half_precision_runs_and_gives_nearby_scores.__name__,
    ),
)
