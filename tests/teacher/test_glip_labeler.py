"""The GLIP teacher on a tiny model with random weights: pixel frames, passes, other samples of a batch, errors."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from schemas.errors import ConfigError, NotFoundError, RuntimeEnvironmentError, SampleRejectedError
from schemas.records import Phrase, Pixels, Sample
from teacher.factories import labeler_digest, make_labeler
from teacher.models.glip import GlipForGrounding, GlipProcessor

CAPTION = "a red circle and two blue star of the green ring"
TEXTS = ("a red circle", "two blue star", "the green ring")


def sample_of(caption: str, *texts: str, width: int, height: int) -> Sample:
    phrases = [
        Phrase(begin=caption.index(t), end=caption.index(t) + len(t), text=t, root=t.split()[-1])
        for t in texts
    ]
    return Sample(
        unit="u", shard="s", index=0, key="k", pixels=Pixels(url="file"), image_sha256="0", caption=caption,
        width=width, height=height, phrases=tuple(phrases),
    )  # fmt: skip


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def build(folder, batch_size=3, min_score=0.05, **settings):
    return make_labeler({"kind": "glip", "model": str(folder), **settings}, batch_size, min_score)


def prepared(teacher, caption=CAPTION, texts=TEXTS, height=60, width=80, seed=0):
    image = picture(height, width, seed)
    return teacher.prepare(sample_of(caption, *texts, width=width, height=height), image)


def test_regions_lie_in_the_stored_image_above_the_score_for_every_phrase(glip_folder):
    teacher = build(glip_folder)

    regions, *blanks = teacher.label([prepared(teacher), None, None])

    assert blanks == [[], []] and {region.phrase for region in regions} == {0, 1, 2}
    assert all(0 <= r.x0 < r.x1 <= 80 and 0 <= r.y0 < r.y1 <= 60 and r.score >= 0.05 for r in regions)
    assert max(r.x1 for r in regions) == 80, "a box that reaches the last column ends at the image's width"


def test_regions_are_the_models_own_detections_made_half_open(glip_folder):
    teacher = build(glip_folder, batch_size=1)
    image = picture(96, 128)

    regions = teacher.label([prepared(teacher, height=96, width=128)])[0]

    model, processor = (
        GlipForGrounding.from_pretrained(glip_folder),
        GlipProcessor.from_pretrained(glip_folder),
    )
    inputs = processor([image], [CAPTION], pad=(96, 128))
    with torch.no_grad():
        outputs = model.eval()(**inputs)
    spans = [[(CAPTION.index(t), CAPTION.index(t) + len(t))] for t in TEXTS]
    tokens = [processor.phrase_tokens(CAPTION, spans)]
    found = processor.post_process_grounded_object_detection(
        outputs, tokens, [(96, 128)], threshold=0.05, nms_iou=1.0, max_detections=10**6
    )[0]
    strong = [n for n in range(len(found["scores"])) if found["scores"][n] >= 0.05]
    assert [r.score for r in regions] == pytest.approx(found["scores"][strong].tolist(), abs=1e-6)
    best = found["boxes"][strong[0]].tolist()
    assert [regions[0].x0, regions[0].y0] == pytest.approx(best[:2], abs=1e-3)
    assert [regions[0].x1, regions[0].y1] == pytest.approx([best[2] + 1, best[3] + 1], abs=1e-3)


def test_a_sample_gets_the_same_regions_whatever_shares_its_batch(glip_folder):
    teacher = build(glip_folder)
    one = prepared(teacher)
    mates = [prepared(teacher, "the ring", ("the ring",), seed=1), prepared(teacher, seed=2)]

    alone = teacher.label([one, None, None])[0]

    assert alone == teacher.label([mates[0], one, mates[1]])[1] == teacher.label([None, mates[1], one])[2]


def test_the_bucket_follows_from_the_image_alone(glip_folder):
    teacher = build(glip_folder, pad_multiple=64)

    small, turned = prepared(teacher), prepared(teacher, height=80, width=60)

    assert small.bucket == prepared(teacher, "the ring", ("the ring",), seed=5).bucket == (128, 128)
    assert turned.bucket == (128, 128)
    assert prepared(build(glip_folder), height=60, width=100).bucket == (96, 160)


def test_a_long_caption_is_asked_in_several_passes(glip_folder):
    teacher = build(glip_folder, batch_size=2, text_tokens=9)
    short = prepared(teacher, "the ring", ("the ring",), seed=1)

    both = teacher.label([prepared(teacher), short])

    passes = {region.phrase: region.pass_index for region in both[0]}
    assert passes == {0: 0, 1: 0, 2: 1}
    assert {region.pass_index for region in both[1]} == {0}
    assert both[1] == teacher.label([None, short])[1]


def test_phrases_that_cannot_be_asked_are_reported_and_the_others_answered(glip_folder):
    teacher = build(glip_folder, batch_size=1, text_tokens=8)
    caption = "a ring, two red red blue blue green star, \u200b\u200b, the circle"
    texts = ("a ring", "two red red blue blue green star", "\u200b\u200b", "the circle")

    ready = prepared(teacher, caption, texts)

    codes = dict(ready.dropped)
    assert codes[1] == "PH_TOO_LONG" and set(codes) <= {1, 2}
    answered = {region.phrase for region in teacher.label([ready])[0]}
    assert answered and answered == {0, 1, 2, 3} - set(codes)


def test_a_span_that_no_token_falls_into_is_reported_not_scored(glip_folder):
    teacher = build(glip_folder, batch_size=1)
    blank = Phrase(begin=6, end=8, text="  ", root="")
    sample = sample_of("a ring  a star", "a ring", "a star", width=80, height=60)
    sample = sample.model_copy(update={"phrases": (sample.phrases[0], blank, sample.phrases[1])})

    ready = teacher.prepare(sample, picture(60, 80))

    assert ready.dropped == ((1, "PH_NO_TOKEN"),)
    assert {region.phrase for region in teacher.label([ready])[0]} == {0, 2}


def test_weights_that_give_no_numbers_reject_the_sample_rather_than_find_nothing(glip_folder, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(glip_folder, broken)
    weights = load_file(broken / "model.safetensors")
    name = next(key for key in weights if "box_head" in key and key.endswith("weight"))
    weights[name] = weights[name] * float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    teacher = build(broken, batch_size=1)

    with pytest.raises(SampleRejectedError, match="TEACHER_NONFINITE"):
        teacher.label([prepared(teacher)])


def test_the_digest_follows_weights_and_prompting_and_not_the_place(glip_folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(glip_folder, copy)
    (copy / "README.md").write_text("a model card")
    settings = {"kind": "glip", "model": str(glip_folder)}

    assert labeler_digest(settings) == labeler_digest({**settings, "model": str(copy), "device": "cpu"})
    assert labeler_digest(settings) == build(glip_folder).digest
    assert labeler_digest(settings) != labeler_digest({**settings, "prompt": "phrases"})
    weights = load_file(copy / "model.safetensors")
    weights["alignment.bias"] += 1
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert labeler_digest(settings) != labeler_digest({**settings, "model": str(copy)})


def test_a_folder_without_weights_and_a_missing_gpu_are_errors_with_a_remedy(glip_folder, tmp_path):
    with pytest.raises(NotFoundError, match="safetensors"):
        build(tmp_path)
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeEnvironmentError, match="device"):
            build(glip_folder, device="cuda")


def test_a_prompt_tuned_model_labels_its_own_prompt_and_stops_at_another(glip_folder, tmp_path):
    from teacher.models.glip.tuning import add_prompt_offset

    model, processor = (
        GlipForGrounding.from_pretrained(glip_folder),
        GlipProcessor.from_pretrained(glip_folder),
    )
    add_prompt_offset(model, processor, "red circle. blue star")
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    teacher = build(tmp_path)

    own = prepared(teacher, "red circle. blue star", ("red circle", "blue star"))

    assert {region.phrase for region in teacher.label([own, None, None])[0]} == {0, 1}
    with pytest.raises(ConfigError, match="tuned for the prompt 'red circle. blue star' alone"):
        prepared(teacher)


def with_decoys(sample: Sample, *nouns: str) -> Sample:
    decoys = [Phrase(text=noun, root=noun, kind="decoy") for noun in nouns]
    return sample.model_copy(update={"phrases": (*sample.phrases, *decoys)})


def test_decoys_get_regions_of_their_own_and_a_pass_after_the_others(glip_folder):
    teacher = build(glip_folder)
    sample = with_decoys(sample_of("a red circle", "a red circle", width=80, height=60), "ring", "star")

    asked = teacher.prepare_decoys(sample, picture(60, 80))
    regions, *_ = teacher.label([asked, None, None])

    assert asked.second_pass and asked.dropped == ()
    assert {(region.phrase, region.pass_index) for region in regions} == {(1, 1), (2, 1)}


def test_a_phrases_regions_are_those_of_the_pass_without_decoys_not_of_the_pass_with_them(glip_folder):
    teacher = build(glip_folder)
    one = sample_of("a red circle", "a red circle", width=80, height=60)
    image = picture(60, 80)

    alone = teacher.label([teacher.prepare(one, image), None, None])[0]
    teacher.label([teacher.prepare_decoys(with_decoys(one, "star"), image), None, None])

    assert teacher.label([teacher.prepare(one, image), None, None])[0] == alone
    fused = teacher.label([teacher.prepare(with_decoys(one, "star"), image), None, None])[0]
    assert [r for r in fused if r.phrase == 0] == alone, "decoys in lists of their own change nothing either"


def test_a_decoy_that_no_prompt_holds_is_dropped_with_a_reason(glip_folder):
    teacher = build(glip_folder, text_tokens=8)
    sample = with_decoys(sample_of("a red circle", "a red circle", width=80, height=60), "star " * 9, "ring")

    asked = teacher.prepare_decoys(sample, picture(60, 80))

    assert asked.dropped == ((1, "PH_TOO_LONG"),)
    assert {region.phrase for region in teacher.label([asked, None, None])[0]} == {2}


@pytest.mark.parametrize("option", [{"precision": "bf16"}, {"channels_last": True}])
def test_a_way_to_run_the_model_changes_the_digest_and_hardly_the_boxes(glip_folder, option):
    plain, other = build(glip_folder, batch_size=1), build(glip_folder, batch_size=1, **option)

    (expected,), (found,) = plain.label([prepared(plain)]), other.label([prepared(other)])

    assert other.digest != plain.digest
    assert other.digest == labeler_digest({"kind": "glip", "model": str(glip_folder), **option})
    strong = [region for region in expected if region.score > 0.2]
    assert strong and len(found) == pytest.approx(len(expected), rel=0.2)
    for region in strong[:5]:
        assert any(
            one.phrase == region.phrase
            and abs(one.score - region.score) < 0.05
            and abs(one.x0 - region.x0) + abs(one.y1 - region.y1) < 4
            for one in found
        )


def test_half_precision_needs_a_gpu(glip_folder):
    with pytest.raises(ConfigError, match="fp16, which needs a GPU"):
        build(glip_folder, precision="fp16", device="cpu")
