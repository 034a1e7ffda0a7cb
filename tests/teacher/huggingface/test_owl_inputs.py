"""What OWL-ViT and OWLv2 are given: pixels as transformers makes them, whole texts without special tokens."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import AutoTokenizer
from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil
from transformers.models.owlvit.image_processing_pil_owlvit import OwlViTImageProcessorPil

from schemas.errors import ConfigError
from teacher.factories import labeler_digest, make_labeler
from teacher.huggingface.text_ids import TextTokenizer
from tests.mutations import Mutation
from tests.teacher.huggingface.tiny_owl import KINDS, make_picture, make_sample, save_owl, save_owls

PROCESSORS = {"owlvit": OwlViTImageProcessorPil, "owlv2": Owlv2ImageProcessorPil}

TEXT, RESIZE = "teacher/huggingface/text_ids.py", "teacher/huggingface/square_resize.py"
PIXELS = "test_pixels_are_those_of_transformers_processor"
MUTATIONS = (
    Mutation(RESIZE, "sigma = max(0.0, (before / after - 1) / 2)", "sigma = 0.0", PIXELS),
    Mutation(RESIZE, "_make_axis(max(height, width), side)", "_make_axis(width, side)", PIXELS),
    Mutation(RESIZE, "np.minimum(folded, period - folded)", "np.minimum(places.clip(0), length - 1)", PIXELS),
    Mutation(
        "teacher/labelers/owlvit.py", '"resample": 3}', "}",
        "test_settings_that_a_processor_file_leaves_out_are_the_processors_own",
    ),
    Mutation(
        "teacher/huggingface/owl.py", "read_image_rules(self.folder, self.image_defaults)",
        "read_image_rules(self.folder)",
        "test_settings_that_a_processor_file_leaves_out_are_the_processors_own",
    ),
    Mutation(
        "teacher/huggingface/owl.py", "if values.get(name) not in (None, expected):", "if False:",
        "test_image_settings_that_would_be_read_otherwise_are_refused",
    ),
    Mutation(
        "teacher/huggingface/owl.py", "if self.rules.exact != (side, side):", "if False:",
        "test_image_settings_that_would_be_read_otherwise_are_refused",
    ),
    Mutation(
        "teacher/huggingface/entry.py", "if not self.recognizes(folder):", "if False:",
        "test_a_model_of_the_other_kind_is_refused",
    ),
    Mutation(
        TEXT, "TOO_LONG if len(ids) > self.limit else None", "None",
        "test_a_phrase_over_the_token_limit_is_dropped_whole_and_one_at_the_limit_is_asked",
    ),
    Mutation(
        TEXT, " if number not in self._marks", "",
        "test_words_that_a_tokenizer_reads_as_special_do_not_act",
    ),
    Mutation(
        TEXT, "if not self.encode(phrase):", "if False:",
        "test_a_phrase_without_a_token_is_dropped_in_any_template",
    ),
    Mutation(
        "teacher/huggingface/owl.py", ', special_words="drop"', "",
        "test_words_that_a_tokenizer_reads_as_special_do_not_act",
    ),
    Mutation(TEXT, "if found != 1:", "if False:", "test_a_template_has_the_place_of_the_phrase_exactly_once"),
    Mutation(
        TEXT, "if length + 1 > limit:", "if False:",
        "test_a_template_that_leaves_no_token_for_a_phrase_is_refused",
    ),
    Mutation(
        "teacher/huggingface/entry.py", '"dtype": "float32",', "",
        "test_weights_saved_in_16_bits_run_in_the_precision_of_the_settings",
    ),
)  # fmt: skip


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return save_owls(tmp_path_factory.mktemp("owl"))


def build(folder: Path, kind: str, **settings):
    return make_labeler({"kind": kind, "model": str(folder), **settings}, 1, 0.0)


def ask(teacher, *texts: str):
    return teacher.prepare(make_sample(*texts, width=90, height=60), make_picture(60, 90))


@pytest.fixture
def copy(folders, kind, tmp_path):
    """Return a copy of the model's directory whose image settings can be changed: `copy(size=...)`."""
    folder = shutil.copytree(folders[kind], tmp_path / "copy")

    def change(*removed: str, **changes: object) -> Path:
        file = folder / "processor_config.json"
        values = json.loads(file.read_text())
        kept = {name: value for name, value in values["image_processor"].items() if name not in removed}
        file.write_text(json.dumps({**values, "image_processor": {**kept, **changes}}))
        return folder

    return change


@pytest.mark.parametrize("size", [(60, 90), (90, 60), (64, 64), (31, 33), (300, 211), (16, 512), (129, 64)])
def test_pixels_are_those_of_transformers_processor(folders, kind, size):
    teacher = build(folders[kind], kind)
    image = make_picture(*size)

    pixels, _ = teacher.normalize([teacher.resize(image)], (64, 64))

    processor = PROCESSORS[kind].from_pretrained(folders[kind])
    expected = processor(images=image, return_tensors="pt")["pixel_values"]
    assert torch.abs(pixels - expected).max() < 3e-6


def test_settings_that_a_processor_file_leaves_out_are_the_processors_own(copy, kind):
    folder = copy("image_mean", "image_std", "resample", "rescale_factor", size=[64, 64])
    teacher = build(folder, kind)
    image = make_picture(100, 50)

    pixels, _ = teacher.normalize([teacher.resize(image)], (64, 64))

    expected = PROCESSORS[kind](size={"height": 64, "width": 64})(images=image, return_tensors="pt")
    assert torch.abs(pixels - expected["pixel_values"]).max() < 3e-6


def test_image_settings_that_would_be_read_otherwise_are_refused(copy, kind):
    for changes in ({"do_resize": False}, {"do_rescale": False}, {"do_normalize": False}):
        with pytest.raises(ConfigError, match=f"{next(iter(changes))}: False, expected True"):
            build(copy(**changes), kind)
        copy(*changes)
    with pytest.raises(ConfigError, match=r"resize to \(32, 32\) .* 64 x 64; copy both files"):
        build(copy(size={"height": 32, "width": 32}), kind)


def test_a_model_of_the_other_kind_is_refused(folders, kind):
    other = next(name for name in KINDS if name != kind)

    with pytest.raises(ConfigError, match=f"has model_type '{other}', and the teacher {kind} needs {kind}"):
        build(folders[other], kind)


def test_texts_are_the_tokens_of_transformers_processor(folders, kind):
    teacher = build(folders[kind], kind)
    texts = ("a red circle", "Two DOGS", "naïve café 😀", "wow! it's {} 50%")

    (question,) = ask(teacher, *texts).inputs.questions

    tokenizer = AutoTokenizer.from_pretrained(folders[kind])
    assert list(question.text) == [tuple(tokenizer(text)["input_ids"]) for text in texts]


def test_a_phrase_over_the_token_limit_is_dropped_whole_and_one_at_the_limit_is_asked(folders, kind):
    teacher = build(folders[kind], kind)
    texts = ("a " * 14, "a " * 15, "a cat")

    row = ask(teacher, *texts)

    assert row.dropped == ((1, "PH_TOO_LONG"),)
    assert [len(ids) for ids in row.inputs.questions[0].text] == [16, 4]
    assert {region.phrase for region in teacher.label([row])[0]} == {0, 2}


def test_words_that_a_tokenizer_reads_as_special_do_not_act(folders, kind):
    teacher = build(folders[kind], kind)
    texts = ("a red cat", "a <|endoftext|> red cat", "<|startoftext|>a red cat", "a red<|ENDOFTEXT|> cat")

    regions = teacher.label([ask(teacher, *texts)])[0]

    scores = [[r.score for r in regions if r.phrase == phrase] for phrase in range(len(texts))]
    assert scores[0] == scores[1] == scores[2] == scores[3]
    other = teacher.label([ask(teacher, "a")])[0]
    assert scores[0] != [r.score for r in other], "what follows the special word counts"


@pytest.mark.parametrize("template", ["{}", "a photo of a {}"])
def test_a_phrase_without_a_token_is_dropped_in_any_template(folders, kind, template):
    teacher = build(folders[kind], kind, template=template)

    row = ask(teacher, "", "  \t", "<|endoftext|>", "a cat")

    assert row.dropped == ((0, "PH_NO_TOKEN"), (1, "PH_NO_TOKEN"), (2, "PH_NO_TOKEN"))
    assert {region.phrase for region in teacher.label([row])[0]} == {3}


def test_a_template_is_the_text_around_each_phrase(folders, kind):
    plain, framed = build(folders[kind], kind), build(folders[kind], kind, template="a photo of a {}")

    assert (
        ask(framed, "red {}").inputs.questions[0].text
        == ask(plain, "a photo of a red {}").inputs.questions[0].text
    )
    settings = {"kind": kind, "model": str(folders[kind])}
    assert labeler_digest({**settings, "template": "a photo of a {}"}) == framed.digest != plain.digest


def test_a_template_has_the_place_of_the_phrase_exactly_once(folders, kind):
    for template in ("a photo", "{} and {}", ""):
        with pytest.raises(ValidationError, match="expected once"):
            build(folders[kind], kind, template=template)


def test_a_template_that_leaves_no_token_for_a_phrase_is_refused(folders, kind):
    with pytest.raises(ConfigError, match="alone has 16 of the model's 16 tokens"):
        build(folders[kind], kind, template="a " * 14 + "{}")
    tokenizer = TextTokenizer(folders[kind], 16, template="a " * 13 + "{}")
    assert tokenizer.tokenize("cat")[1] is None


def test_weights_saved_in_16_bits_run_in_the_precision_of_the_settings(tmp_path, kind):
    version = 1 + KINDS.index(kind)
    teacher = build(save_owl(tmp_path, version=version, dtype=torch.bfloat16), kind)

    assert {weight.dtype for weight in teacher.model.parameters()} == {torch.float32}
    scores = [region.score for region in teacher.label([ask(teacher, "a red cat")])[0]]
    assert any(np.float32(score).view(np.uint32) & 0xFFFF for score in scores)
