"""A start from Hugging Face's Swin and BERT: their weights key by key, their features, and a training that runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertModel, SwinBackbone, SwinConfig, SwinModel

from pipelines.demo.world.lexicon import list_vocabulary
from schemas.errors import ConfigError
from student.models.start_from_parts import build_from_parts
from student.settings.train import PartsStart, TrainSettings
from student.training.train import train
from teacher.models.glip.tokenizers.word import make_word_tokenizer

SMALL = {"channels": 16, "num_levels": 3, "num_blocks": 1, "fusion_width": 16, "fusion_heads": 2}
SWIN = {"embed_dim": 8, "depths": [1, 2, 2, 1], "num_heads": [1, 2, 2, 4], "window_size": 3, "image_size": 96}


@pytest.fixture
def parts(tmp_path: Path) -> PartsStart:
    tokenizer = make_word_tokenizer(list_vocabulary())
    text = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(3)
    SwinModel(SwinConfig(**SWIN)).save_pretrained(tmp_path / "swin")
    BertModel(BertConfig(**text, vocab_size=len(tokenizer), max_position_embeddings=64)).save_pretrained(
        tmp_path / "bert"
    )
    tokenizer.save_pretrained(tmp_path / "bert")
    return PartsStart(
        swin=str(tmp_path / "swin"),
        bert=str(tmp_path / "bert"),
        config=SMALL,
        processor={"shorter_side": 96, "longer_side": 96},
    )


def test_every_weight_of_the_parts_is_in_the_model(parts: PartsStart) -> None:
    own = build_from_parts(parts, {}, seed=0)[0].state_dict()
    swin, bert = (load_file(Path(folder) / "model.safetensors") for folder in (parts.swin, parts.bert))
    stage, block = "encoder.layers.2.blocks.1", "model.backbone.stages.2.blocks.1"

    same = {
        f"{block}.attention.position_bias.table": swin[
            f"{stage}.attention.self.relative_position_bias_table"
        ],
        f"{block}.attention.output.bias": swin[f"{stage}.attention.output.dense.bias"],
        f"{block}.expand.weight": swin[f"{stage}.intermediate.dense.weight"],
        f"{block}.contract.weight": swin[f"{stage}.output.dense.weight"],
        f"{block}.norm1.weight": swin[f"{stage}.layernorm_before.weight"],
        f"{block}.norm2.bias": swin[f"{stage}.layernorm_after.bias"],
        "model.backbone.stages.1.merge.reduction.weight": swin[
            "encoder.layers.0.downsample.reduction.weight"
        ],
        "model.backbone.patches.weight": swin["embeddings.patch_embeddings.projection.weight"],
        "model.text_encoder.words.weight": bert["embeddings.word_embeddings.weight"],
        "model.text_encoder.layers.1.query.weight": bert["encoder.layer.1.attention.self.query.weight"],
        "model.text_encoder.layers.1.output_norm.bias": bert["encoder.layer.1.output.LayerNorm.bias"],
    }
    assert all(torch.equal(own[name], value) for name, value in same.items())
    three = [swin[f"{stage}.attention.self.{part}.weight"] for part in ("query", "key", "value")]
    assert torch.equal(own[f"{block}.attention.qkv.weight"], torch.cat(three))


def test_trunk_and_text_encoder_give_the_features_of_the_parts(parts: PartsStart) -> None:
    model = build_from_parts(parts, {}, seed=0)[0].eval()
    names = [f"stage{number}" for number in (2, 3, 4)]
    swin = SwinBackbone.from_pretrained(parts.swin, out_features=names).eval()
    bert = BertModel.from_pretrained(parts.bert).eval()
    pixels = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    ids, mask = torch.arange(5, 15)[None], torch.ones(1, 10, dtype=torch.long)
    with torch.no_grad():
        ours, theirs = model.model.backbone(pixels), swin(pixels).feature_maps
        text = model.model.text_encoder(ids, mask)
        known = bert(ids, mask).last_hidden_state

    # A coarser map is no larger than the window, where transformers leaves the shift out and GLIP's authors do not.
    torch.testing.assert_close(ours[0], theirs[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(text, known, atol=1e-5, rtol=0)


def test_the_rest_is_a_function_of_the_seed(parts: PartsStart) -> None:
    one, same, other = (build_from_parts(parts, {}, seed)[0].state_dict() for seed in (1, 1, 2))

    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["model.fpn.laterals.0.weight"], other["model.fpn.laterals.0.weight"])
    assert torch.equal(one["model.backbone.patches.weight"], other["model.backbone.patches.weight"])


def test_parts_can_be_trained_and_their_files_are_part_of_the_run(
    parts: PartsStart, two_streams: TrainSettings, tmp_path: Path
) -> None:
    settings = two_streams.model_copy(update={"start": parts, "steps": 2, "out": str(tmp_path / "a")})
    report = train(settings)

    file = Path(parts.bert) / "tokenizer_config.json"
    file.write_text(file.read_text() + "\n")
    assert (
        train(settings.model_copy(update={"out": str(tmp_path / "b")}))["run_digest"] != report["run_digest"]
    )


@pytest.mark.parametrize("field", ["swin", "bert"])
def test_a_part_of_another_kind_is_refused(parts: PartsStart, field: str) -> None:
    other = parts.bert if field == "swin" else parts.swin

    with pytest.raises(ConfigError, match=f"expected '{field}'; give a directory of a {field} model"):
        build_from_parts(parts.model_copy(update={field: other}), {}, seed=0)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_configuration_that_is_no_json_object_is_reported(parts: PartsStart, text: str) -> None:
    (Path(parts.swin) / "config.json").write_text(text)

    with pytest.raises(ConfigError, match=r"start.swin .*config\.json: expected a JSON object .*; download"):
        build_from_parts(parts, {}, seed=0)


def test_a_model_that_no_glip_can_use_is_refused_with_what_to_do(parts: PartsStart) -> None:
    path = Path(parts.bert) / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "hidden_act": "relu"}))

    with pytest.raises(ConfigError, match="but GLIP needs .*'gelu'.*; give a model that has them"):
        build_from_parts(parts, {}, seed=0)


def test_weights_of_other_sizes_are_refused_with_what_to_do(parts: PartsStart) -> None:
    with pytest.raises(
        ConfigError, match=r"no tensor for .*; give the complete weights, or correct start\.config"
    ):
        build_from_parts(parts.model_copy(update={"config": {**parts.config, "text_layers": 3}}), {}, seed=0)
