"""The teacher `sam3` on tiny models: scores and boxes, rows of phrases, other samples of a batch, hostile texts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from schemas.errors import ConfigError, SampleRejectedError
from teacher.factories import labeler_digest, make_labeler
from teacher.registry import recognize_model
from tests.mutations import Mutation
from tests.teacher.huggingface.tiny_omdet_sam import (
    assert_same_regions,
    make_picture,
    make_sample,
    numbers_of,
    save_as_video,
    save_sam3,
    scale_to_image,
    write_image_settings,
)

SIDE, QUERIES = 56, 12
TEXTS = ("a red dog", "the cat", "dogs", "a blue car of the horse", "circle")
LABELER, TEXT_IDS = "teacher/labelers/sam3.py", "teacher/huggingface/text_ids.py"

MUTATIONS = (
    Mutation(LABELER, "min(_MAX_TOKENS, count_positions(model))", "10**6", "test_a_phrase_of_more_than_32_tokens"),
    Mutation(TEXT_IDS, "if not self.encode(phrase):", "if False:", "test_a_phrase_without_a_token"),
    Mutation(LABELER, "box_scores_PQ * presences_P1", "box_scores_PQ", "test_regions_are_a_direct_reading"),
    Mutation(LABELER, "Questions(questions, self._tokenizer.limit,",
             "Questions(questions, max(map(len, fitting.values())),",
             "test_regions_are_a_direct_reading"),
    Mutation(LABELER, "*[blank] * (size - len(chunk))", "", "test_every_chunk_of_rows_has_the_size_of_the_batch"),
    Mutation(LABELER, "    remove_mask_decoder(model)\n", "", "test_masks_are_not_computed"),
    Mutation(LABELER, "        self._check_size(model.config.image_size)\n", "", "test_images_of_another_size"),
    Mutation(LABELER, "return rules if given else", "return rules or", "test_a_missing_mean_is_that_of_the_models"),
    Mutation(LABELER, 'frozenset({"sam3", _VIDEO, _LITE})', 'frozenset({"sam3"})', "test_the_kind_is_found"),
    Mutation(LABELER, "            model.vision_encoder.compile()\n", "            pass\n", "test_compile_covers"),
    Mutation(TEXT_IDS, "split_special_tokens=self._spells", "split_special_tokens=False",
             "test_special_tokens_are_spelled_out"),
    Mutation(TEXT_IDS, "mask[row, : len(text)] = 1", "mask[row] = 1", "test_regions_are_a_direct_reading"),
    Mutation("teacher/huggingface/loading.py", "if missing:", "if False:", "test_missing_weights"),
)  # fmt: skip


@pytest.fixture(scope="session")
def sam3_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_sam3(tmp_path_factory.mktemp("sam3"))


@pytest.fixture(scope="session")
def lite_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_sam3(tmp_path_factory.mktemp("lite"), lite=True)


@pytest.fixture(params=["sam3_folder", "lite_folder"])
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


def build(folder: Path, batch_size: int = 1, min_score: float = 0.0, **settings):
    return make_labeler({"kind": "sam3", "model": str(folder), **settings}, batch_size, min_score)


@pytest.fixture(scope="module")
def teacher(sam3_folder):
    return build(sam3_folder)


def ask(teacher, *texts: str, seed: int = 0, **more):
    return teacher.prepare(make_sample(*texts, **more), make_picture(seed))


def read_directly(folder: Path, image: np.ndarray, texts: tuple[str, ...]) -> np.ndarray:
    """Return rows as `numbers_of`, of every phrase and query, from the whole model with one phrase at a time."""
    from transformers import AutoModel, AutoTokenizer

    small = np.asarray(Image.fromarray(image, "RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    pixels = torch.from_numpy((small / 255 - 0.5) / 0.5).float().permute(2, 0, 1)[None]
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    rows = []
    for phrase, text in enumerate(texts):
        inputs = tokenizer(text, padding="max_length", max_length=32, return_tensors="pt")
        with torch.no_grad():
            outputs = model(pixel_values=pixels, **inputs)
        corners = outputs.pred_boxes[0].numpy()
        assert (corners[:, 2:] > corners[:, :2]).all(), "xyxy, not center and size"
        boxes = scale_to_image(corners)
        presence = float(outputs.presence_logits[0, 0].sigmoid())
        for box, own in zip(boxes, outputs.pred_logits[0].sigmoid().tolist(), strict=True):
            if box[2] > box[0] and box[3] > box[1]:
                rows.append((phrase, *box, own * presence, own, presence))
    return np.array(rows)


def test_regions_are_a_direct_reading_of_logits_and_presence(folder):
    teacher = build(folder)

    regions = teacher.label([ask(teacher, *TEXTS)])[0]

    expected = read_directly(folder, make_picture(), TEXTS)
    np.testing.assert_allclose(numbers_of(regions), expected, atol=1e-4, rtol=0)
    assert teacher.score_kind == "sam3.box*presence"
    assert len(np.unique(expected[:, 7].round(4))) > 2, "the reading can tell phrases apart"


def test_regions_below_the_product_are_left_out(sam3_folder, teacher):
    everything = numbers_of(teacher.label([ask(teacher, *TEXTS)])[0])
    middle = float(np.median(everything[:, 5]))

    kept = numbers_of(build(sam3_folder, min_score=middle).label([ask(teacher, *TEXTS)])[0])

    np.testing.assert_array_equal(kept, everything[everything[:, 5] >= middle])


def test_a_sample_gets_the_same_regions_whatever_shares_its_batch(folder):
    teacher, batched = build(folder), build(folder, batch_size=4)
    samples = [ask(teacher, *TEXTS[:count], seed=count) for count in (1, 2, 5)]

    alone = [teacher.label([sample])[0] for sample in samples]
    together = batched.label([samples[0], None, samples[1], samples[2]])
    blanks = batched.label([None, samples[2], None, None])

    for one, many in zip(alone, [together[0], together[2], together[3]], strict=True):
        assert_same_regions(many, one)
    assert_same_regions(blanks[1], alone[2])
    assert together[1] == blanks[0] == []
    assert batched.label([None] * 4) == [[]] * 4 == batched.label([ask(teacher), None, None, None])


def test_a_phrase_has_the_same_regions_whatever_else_is_asked(teacher):
    alone, company = (teacher.label([ask(teacher, *texts)])[0] for texts in (TEXTS[1:2], TEXTS))

    own = [region.model_copy(update={"phrase": 0}) for region in company if region.phrase == 1]
    assert_same_regions(own, alone)
    assert {region.pass_index for region in company} == {0}


def test_the_image_is_encoded_once_for_all_phrases_of_a_batch(sam3_folder):
    teacher = build(sam3_folder, batch_size=2)
    shapes = []
    teacher.model.vision_encoder.register_forward_pre_hook(lambda _, inputs: shapes.append(inputs[0].shape))

    teacher.label([ask(teacher, *TEXTS), ask(teacher, "a dog", seed=1)])

    assert shapes == [(2, 3, SIDE, SIDE)]


def test_every_chunk_of_rows_has_the_size_of_the_batch(sam3_folder):
    teacher = build(sam3_folder, batch_size=4)
    rows = []
    teacher.model.detr_decoder.register_forward_pre_hook(
        lambda _, __, inputs: rows.append(len(inputs["text_features"])), with_kwargs=True
    )

    regions = teacher.label([ask(teacher, *TEXTS), None, ask(teacher, "a dog", seed=1), None])

    assert rows == [4, 4] and {region.phrase for region in regions[0]} == set(range(5)) and regions[2]


def test_masks_are_not_computed(sam3_folder, teacher):
    from transformers import Sam3Model

    size = sum(weight.numel() for weight in Sam3Model.from_pretrained(sam3_folder).mask_decoder.parameters())

    assert size > 0 and list(teacher.model.mask_decoder.parameters()) == []


def test_a_phrase_of_more_than_32_tokens_is_reported_not_cut_and_the_others_answered(teacher):
    longest, longer = " ".join(["red"] * 29 + ["dog"]), " ".join(["red"] * 30 + ["dog"])

    asked = ask(teacher, "the cat", longer, longest)

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

    assert len(hostile) > len(plain) and hostile.count(hostile[0]) == hostile.count(hostile[-1]) == 1
    assert {region.phrase for region in teacher.label([ask(teacher, f"{special} dog", "a cat")])[0]} == {0, 1}


def test_decoys_are_asked_alone_and_change_no_region_of_a_phrase(teacher):
    plain, more = (make_sample(*TEXTS[:2], decoys=decoys) for decoys in ((), ("horse", "red " * 40, "car")))

    alone = teacher.label([teacher.prepare(plain, make_picture())])[0]
    fused = teacher.label([teacher.prepare(more, make_picture())])[0]
    asked = teacher.prepare_decoys(more, make_picture())
    decoys = teacher.label([asked])[0]

    assert_same_regions([region for region in fused if region.phrase < 2], alone)
    assert asked.second_pass and asked.dropped == ((3, "PH_TOO_LONG"),)
    assert {(region.phrase, region.pass_index) for region in decoys} == {(2, 1), (4, 1)}
    assert_same_regions(decoys, [region for region in fused if region.phrase >= 2])


def test_the_published_form_of_a_directory_gives_the_same_regions(sam3_folder, teacher, tmp_path):
    video = build(save_as_video(sam3_folder, tmp_path / "video"))

    assert_same_regions(video.label([ask(video, *TEXTS)])[0], teacher.label([ask(teacher, *TEXTS)])[0])


def test_missing_weights_are_an_error_not_random_numbers(sam3_folder, tmp_path):
    folder = save_as_video(sam3_folder, tmp_path / "video")
    shutil.copy(sam3_folder / "config.json", folder)  # of the detector, with the names of the video model
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes().replace(b"detector_model.", b"detector_other."))

    with pytest.raises(ConfigError, match=r"lacks \d+ weights of Sam3Model"):
        build(folder)


def test_weights_that_give_no_numbers_reject_the_sample(sam3_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(sam3_folder, tmp_path / "broken")
    weights = load_file(folder / "model.safetensors")
    weights["detr_decoder.presence_head.layer3.bias"] *= float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    teacher = build(folder)

    with pytest.raises(SampleRejectedError, match="TEACHER_NONFINITE"):
        teacher.label([ask(teacher, "a dog")])


def test_images_of_another_size_than_the_models_are_refused(sam3_folder, tmp_path):
    folder = shutil.copytree(sam3_folder, tmp_path / "other")
    write_image_settings(folder, 84, [0.5] * 3, [0.5] * 3)

    with pytest.raises(ConfigError, match=r"images of \(84, 84\).*expects \(56, 56\)"):
        build(folder)


def test_a_missing_mean_is_that_of_the_models_own_processor(sam3_folder, teacher, tmp_path):
    folder = shutil.copytree(sam3_folder, tmp_path / "other")
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    del settings["image_mean"], settings["image_std"]
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    other = build(folder)

    assert other.label([ask(other, "a dog")]) == teacher.label([ask(teacher, "a dog")])


def test_bf16_gives_nearly_the_same_scores(sam3_folder, teacher):
    rough = build(sam3_folder, precision="bf16")

    exact, near = (numbers_of(one.label([ask(teacher, "a dog")])[0]) for one in (teacher, rough))

    assert abs(np.median(exact[:, 5]) - np.median(near[:, 5])) < 0.05


def test_compile_covers_the_parts_that_run(sam3_folder, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda what, *_, **__: compiled.append(what) or what)

    teacher = build(sam3_folder, compile=True)

    parts = {type(getattr(what, "__self__", what)).__name__ for what in compiled}
    assert parts == {"Sam3VisionModel", "Sam3Model"}
    assert teacher.label([ask(teacher, "a dog")])[0]


def test_the_kind_is_found_by_its_files(sam3_folder, lite_folder, teacher, tmp_path):
    video = save_as_video(sam3_folder, tmp_path / "video")

    assert {recognize_model(path)[0] for path in (sam3_folder, lite_folder, video)} == {"sam3"}
    assert labeler_digest({"kind": "sam3", "model": str(sam3_folder)}) == teacher.digest
