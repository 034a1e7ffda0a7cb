"""The authors' checkpoints become model directories. Keys that do not fit are listed, and no pickle runs code."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import re
from collections import OrderedDict
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from pipelines.cli import build_app
from schemas.errors import (
    ConfigError,
    ConflictError,
    GroundswellError,
    NotFoundError,
    RuntimeEnvironmentError,
)
from teacher.models.glip import GlipConfig, GlipForGrounding, GlipProcessor
from teacher.models.glip.checkpoint.convert import convert
from teacher.models.glip.checkpoint.official_weights import CheckpointMismatchError, find_variant, translate
from teacher.models.glip.checkpoint.unpickle import NotACheckpointError, read_state_dict, unpack
from teacher.models.glip.checkpoint.unpickle import main as unpickle
from teacher.models.glip.layers.swin import relative_position_index
from teacher.models.glip.tokenizers.bert import load_bert_tokenizer
from teacher.models.glip.tokenizers.word import make_word_tokenizer

INDEX = "backbone.body.layers.0.blocks.0.attn.relative_position_index"
POSITIONS = "language_backbone.body.model.embeddings.position_ids"
ANCHORS = "rpn.anchor_generator.cell_anchors.0"
DEAD = "rpn.head.cls_logits.weight"
NEEDED = "rpn.head.bias_lang"
CAPTION = "person. bicycle. traffic light. dog. parking meter. skateboard"  # of case A


@pytest.fixture(scope="module")
def official(fused_reference) -> dict[str, torch.Tensor]:
    """Return a small GLIP in the authors' names: learned tensors, one buffer of each kind, one unused tensor."""
    shapes = {name: value.shape for name, value in fused_reference.model().state_dict().items()}
    recipe, names = fused_reference.recipe, fused_reference.names
    made = {key: torch.from_numpy(recipe.value(key, shapes[ours])) for key, ours in names.items() if ours}
    return made | {
        INDEX: relative_position_index(7).clone(),
        POSITIONS: torch.arange(512)[None],
        ANCHORS: torch.tensor([[-28.0, -28, 35, 35]]),
        DEAD: torch.zeros(80, 64, 1, 1),
    }


@pytest.fixture(scope="module")
def tokenizer_folder(shared_parity: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    words = gzip.decompress((shared_parity / "bert_base_uncased_vocab.txt.gz").read_bytes())
    (folder / "vocab.txt").write_bytes(words)
    return folder


@pytest.fixture(scope="module")
def config_file(fused_reference, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "tiny.json"
    path.write_text(json.dumps(fused_reference.config.to_diff_dict()))
    return path


@pytest.fixture(scope="module")
def converted(official, config_file, tokenizer_folder, tmp_path_factory) -> tuple[Path, dict]:
    """Return the command's directory and JSON, for a data-parallel trainer's file with weights and their average."""
    folder = tmp_path_factory.mktemp("converted")
    prefixed = OrderedDict((f"module.{key}", value) for key, value in official.items())
    average = {key: torch.full_like(value, 7) for key, value in prefixed.items()}
    torch.save({"model": prefixed, "model_ema": average, "iteration": 3}, folder / "tiny.pth")
    arguments = [
        "model", "convert-glip", str(folder / "tiny.pth"), "--to", str(folder / "model"), "--json",
        "--config", str(config_file), "--tokenizer", str(tokenizer_folder),
    ]  # fmt: skip
    answer = CliRunner().invoke(build_app(), arguments)
    assert answer.exit_code == 0, answer.output
    return folder / "model", json.loads(answer.stdout)


def test_a_converted_directory_loads_offline_and_gives_the_authors_logits(converted, fused_reference):
    folder, _ = converted
    model = GlipForGrounding.from_pretrained(folder, local_files_only=True).eval()
    processor = GlipProcessor.from_pretrained(folder, local_files_only=True)

    tokens = processor.tokens([CAPTION])
    inputs = fused_reference.inputs("A")
    with torch.no_grad():
        logits = model(inputs["pixel_values"], **tokens).token_logits.numpy()

    assert torch.equal(tokens["input_ids"], inputs["input_ids"])
    names = [f"A/dot_product_logits.P{level}" for level in range(3, 8)]
    theirs = np.concatenate([fused_reference.arrays[name] for name in names], axis=1)
    np.testing.assert_allclose(logits, theirs, rtol=0, atol=4e-4)


def test_the_report_and_the_card_say_what_was_used_checked_and_left_out(converted, fused_reference):
    folder, facts = converted

    assert facts["keys"] == {"used": len(fused_reference.names), "structural": 3, "dead": 1}
    assert facts["weights"] == "last" and facts["average_offered"] is True
    card = (folder / "README.md").read_text()
    assert facts["source_sha256"] in card and facts["model_sha256"] in card and "Licence" in card
    assert not [path.name for path in folder.parent.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(("letter", "name"), [("t", "GLIP-T"), ("a", "GLIP-T (A)"), ("l", "GLIP-L")])
def test_the_full_key_lists_are_told_apart_and_translated_whole(shared_parity, letter, name):
    listed = json.loads((shared_parity / f"keys_glip_{letter}.json").read_text())["keys"]
    with torch.device("meta"):
        official = {
            key: torch.empty(entry["shape"], dtype=getattr(torch, entry["dtype"]))
            for key, entry in listed.items()
        }

    found, config = find_variant(official)
    translation = translate(official, config)

    assert found == name
    assert len(translation.state) + len(translation.structural) + len(translation.dead) == len(official)
    assert {key.rpartition(".")[0] for key in translation.dead} == {"rpn.head.cls_logits"}


class Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_calls_something_is_refused_and_nothing_is_called(official, tmp_path, zipped):
    canary = tmp_path / "canary"
    hostile = {"model": {NEEDED: official[NEEDED]}, "scheduler": Canary(canary)}
    torch.save(hostile, tmp_path / "hostile.pth", _use_new_zipfile_serialization=zipped)

    if zipped:  # the whole way once, in its child; the older format shares everything but the first step
        with pytest.raises(GroundswellError, match=r"hostile\.pth: not a checkpoint of weights alone.*mkdir"):
            convert(tmp_path / "hostile.pth", tmp_path / "out")
    else:
        with pytest.raises(pickle.UnpicklingError, match="mkdir"):
            unpack(tmp_path / "hostile.pth", tmp_path / "x", "model")

    assert not canary.exists() and not (tmp_path / "out").exists()


def test_a_bare_dictionary_and_one_inside_give_the_same_tensors():
    tensor = torch.ones(2)

    for loaded in ({"a": tensor}, {"module.a": tensor}, {"model": {"module.module.a": tensor}}):
        assert read_state_dict(loaded, "model").keys() == {"a"}


def test_the_average_is_taken_when_asked_for_and_missed_when_absent():
    last, average = {"a": torch.zeros(1)}, {"module.a": torch.ones(1)}

    assert read_state_dict({"model": last, "model_ema": average}, "model_ema")["a"].item() == 1
    with pytest.raises(NotACheckpointError, match="has no 'model_ema', only model"):
        read_state_dict({"model": last}, "model_ema")


@pytest.mark.parametrize(
    ("loaded", "message"),
    [
        ([1], "contains a list"),
        ({"model": {"a": 3}}, "'a' a int"),
        ({"a": torch.ones(1), "module.a": torch.ones(1)}, "'a' twice"),
        ({"a": torch.ones(1).expand(10**9)}, "too few bytes"),
        ({"a": torch.ones(2, 2).to_sparse()}, "not a dense tensor"),
    ],
)
def test_what_is_no_dictionary_of_dense_tensors_is_refused(loaded, message):
    with pytest.raises(NotACheckpointError, match=message):
        read_state_dict(loaded, "model")


def test_every_key_that_does_not_fit_is_listed(official, fused_reference):
    broken = {key: value for key, value in official.items() if key != NEEDED}
    broken["rpn.head.rope"] = torch.zeros(1)
    broken["backbone.body.norm0.weight"] = torch.zeros(32)
    broken["rpn.head.bias0"] = torch.zeros(2)
    broken["rpn.head.log_scale"] = torch.tensor([float("nan")])

    with pytest.raises(CheckpointMismatchError) as caught:
        translate(broken, fused_reference.config)

    text = str(caught.value)
    assert "unknown keys (2): backbone.body.norm0.weight, rpn.head.rope" in text
    assert "missing, by our names (1): alignment.text_bias" in text
    assert "other shapes (1): rpn.head.bias0 [2] instead of [1]" in text
    assert "not finite in float32 (1): rpn.head.log_scale" in text


@pytest.mark.parametrize("key", [INDEX, POSITIONS, ANCHORS])
def test_structural_buffers_may_be_absent_and_are_checked_when_present(official, fused_reference, key):
    without = {name: value for name, value in official.items() if name != key}

    assert key not in translate(without, fused_reference.config).structural
    with pytest.raises(CheckpointMismatchError, match=rf"another value \(1\): {key}"):
        translate(official | {key: official[key] + 1}, fused_reference.config)


def test_sizes_of_no_variant_ask_for_a_configuration(official):
    with pytest.raises(ConfigError, match=r"32 channels and a fusion tower.*--config"):
        find_variant(official)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_other_precisions_become_float32(official, fused_reference, dtype):
    other = official | {NEEDED: official[NEEDED].to(dtype)}

    assert translate(other, fused_reference.config).state["alignment.text_bias"].dtype == torch.float32


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.tensor([1e300], dtype=torch.float64), "not finite in float32"),
        (torch.tensor([1]), "no floating-point numbers"),
        (torch.tensor([1j]), "no floating-point numbers"),
    ],
)
def test_numbers_that_float32_does_not_hold_are_listed(official, fused_reference, value, message):
    with pytest.raises(CheckpointMismatchError, match=rf"{message} \(1\): rpn\.head\.bias0"):
        translate(official | {"rpn.head.bias0": value}, fused_reference.config)


def test_a_key_that_a_terminal_would_obey_is_shown_escaped_and_short(official, fused_reference):
    with pytest.raises(CheckpointMismatchError) as caught:
        translate(official | {"\x1b[31m" + "x" * 5000: torch.ones(1)}, fused_reference.config)

    assert r"'\x1b[31mxxx" in str(caught.value) and len(str(caught.value)) < 500


WRONG_FILES = {
    "cut": (lambda whole: whole[: len(whole) // 2], "failed finding central directory"),
    "empty": (lambda _whole: b"", "EOFError"),
    "text": (lambda _whole: b"hello world", "KeyError: 101|IndexError"),
    "call": (
        lambda _whole: pickle.dumps(Decimal(1), protocol=2),
        r"^Unsupported global: GLOBAL decimal\.Decimal .*default\.$",
    ),
}


@pytest.mark.parametrize("kind", WRONG_FILES)
def test_a_file_that_is_no_checkpoint_says_so_and_gives_no_advice_to_load_it_all_the_same(
    tmp_path, capsys, kind
):
    make, message = WRONG_FILES[kind]
    torch.save({"a": torch.ones(300)}, tmp_path / "whole.pth")
    (tmp_path / "wrong.pth").write_bytes(make((tmp_path / "whole.pth").read_bytes()))

    assert unpickle([str(tmp_path / "wrong.pth"), str(tmp_path / "x"), "model"]) == 1

    told = json.loads(capsys.readouterr().out)["error"]
    assert re.search(message, told) and "weights_only" not in told and "add_safe_globals" not in told


def test_what_is_missing_or_in_the_way_is_named(tmp_path, tokenizer_folder):
    (tmp_path / "bad.json").write_text('{"swin_embed_dimension": 96}')
    (tmp_path / "a.pth").write_bytes(b"")

    with pytest.raises(NotFoundError, match=r"absent\.pth"):
        convert(tmp_path / "absent.pth", tmp_path / "out")
    with pytest.raises(ConflictError, match="exists already"):
        convert(tmp_path / "a.pth", tmp_path)
    with pytest.raises(ConfigError, match="swin_embed_dimension"):
        convert(tmp_path / "a.pth", tmp_path / "out", config=tmp_path / "bad.json")
    with pytest.raises(NotFoundError, match=r"vocab\.txt"):
        load_bert_tokenizer(30522, tmp_path)
    with pytest.raises(ConfigError, match="30522 words, but the weights have 20"):
        load_bert_tokenizer(20, tokenizer_folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pth", "bad.json"]


def test_another_vocabulary_of_the_same_size_is_refused(tmp_path):
    words = make_word_tokenizer(f"w{number}" for number in range(30522 - 5))
    words.save_pretrained(tmp_path)

    with pytest.raises(ConfigError, match="other words than bert-base-uncased"):
        load_bert_tokenizer(30522, tmp_path)


def test_without_the_hub_the_remedy_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    with pytest.raises(RuntimeEnvironmentError, match="--tokenizer DIR"):
        load_bert_tokenizer(30522, None)


def test_fields_of_a_configuration_that_cannot_be_built_are_refused_with_the_file(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"")
    (tmp_path / "odd.json").write_text(json.dumps({"text_heads": 7}))

    with pytest.raises(ConfigError, match=r"odd\.json: .*768 is not a multiple of 7"):
        convert(tmp_path / "a.pth", tmp_path / "out", config=tmp_path / "odd.json")
    assert GlipConfig().text_heads == 12


def test_a_prompt_tuned_checkpoint_needs_its_prompt_and_keeps_it(
    official, config_file, tokenizer_folder, tmp_path
):
    torch.save(official | {"rpn.tunable_linear.weight": torch.ones(1000, 64)}, tmp_path / "tuned.pth")
    given = {"tokenizer": tokenizer_folder, "config": config_file}

    with pytest.raises(ConfigError, match="has offsets of prompt tuning; give --prompt TEXT"):
        convert(tmp_path / "tuned.pth", tmp_path / "out", **given)
    convert(tmp_path / "tuned.pth", tmp_path / "out", **given, prompt="cat. dog")

    model = GlipForGrounding.from_pretrained(tmp_path / "out")
    assert model.config.tuned_prompt == "cat. dog" and model.config.tuned_prompt_ids[1] == 4937
    assert model.model.prompt_offset.table.shape == (1000, 64)
