"""A GLIP whose image trunk is a Hugging Face Swin and whose text encoder is a Hugging Face BERT.

Fusion, pyramid and heads begin with the authors' random values, a function of the seed. Weights are taken as they are:
as in the authors' training, a Swin that learned from RGB then reads BGR (`processor: {channel_order: rgb}` differs).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from schemas.errors import ConfigError, NotFoundError
from student.settings.train import PartsStart
from teacher.models.glip import GlipForGrounding, GlipProcessor
from teacher.models.glip.checkpoint.official_keys import UnknownKeyError, translate_key
from teacher.models.glip.config import GlipConfig
from teacher.models.glip.tokenizers.bert import load_bert_tokenizer

# Ours by theirs, in a block of Swin; query, key and value become one.
_SWIN_BLOCK = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.output.dense": "attention.output",
    "intermediate.dense": "expand",
    "output.dense": "contract",
}
_SWIN_STEM = {"patch_embeddings.projection": "patches", "norm": "patch_norm"}
_BLOCK = re.compile(r"encoder\.layers\.(\d+)\.blocks\.(\d+)\.(.+)")
_MERGE = re.compile(r"encoder\.layers\.(\d+)\.downsample\.(.+)")
_STAGE_NORM = re.compile(r"hidden_states_norms\.stage([234])\.(.+)")
_QKV = re.compile(r"attention\.self\.(query|key|value)\.(weight|bias)")
_POSITION_BIAS = "attention.self.relative_position_bias_table"
# The classifier's last norm and head, and what is computed: nothing of a detector reads them.
_UNREAD_SWIN = re.compile(
    r"(layernorm\.|classifier\.|pooler\.|.*relative_position_index$|hidden_states_norms\.stage1)"
)
_UNREAD_BERT = re.compile(r"(pooler\.|cls\.|.*position_ids$)")


def model_of_parts(
    start: PartsStart, random_layers: Mapping[str, float], seed: int
) -> tuple[GlipForGrounding, GlipProcessor]:
    """The model and its processor. Raises ConfigError for parts that a GLIP cannot be made of."""
    swin, bert = Path(start.swin), Path(start.bert)
    fields = {**_swin_fields(_config(swin, "swin")), **_bert_fields(_config(bert, "bert"))}
    config = _made(GlipConfig, {**fields, **random_layers, **start.config}, "start.config")
    torch.manual_seed(seed)
    model = GlipForGrounding(config)
    _take(model, swin, "swin.", swin_tensors)
    _take(model, bert, "bert.", bert_tensors)
    tokenizer = load_bert_tokenizer(config.vocab_size, bert)
    options = {"tokenizer": tokenizer, "max_tokens": min(256, config.text_positions), **start.processor}
    return model, _made(GlipProcessor, options, "start.processor")


def _made(kind: Callable[..., Any], fields: dict[str, Any], what: str) -> Any:
    try:
        return kind(**fields)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{what}: {error}") from error


def _config(folder: Path, kind: str) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise NotFoundError(f"start.{kind} {folder}: expected a Hugging Face directory with config.json")
    values = json.loads(path.read_text(encoding="utf-8"))
    if values.get("model_type") != kind:
        raise ConfigError(
            f"start.{kind} {folder}: its model_type is {values.get('model_type')!r}, expected {kind!r}"
        )
    return dict(values)


def _swin_fields(swin: Mapping[str, Any]) -> dict[str, Any]:
    expected = {"patch_size": 4, "num_channels": 3, "hidden_act": "gelu", "use_absolute_embeddings": False}
    _same("swin", swin, {**expected, "qkv_bias": True})
    return {
        "swin_embed_dim": swin["embed_dim"],
        "swin_depths": swin["depths"],
        "swin_heads": swin["num_heads"],
        "swin_window": swin["window_size"],
        "swin_mlp_ratio": swin["mlp_ratio"],
    }


def _bert_fields(bert: Mapping[str, Any]) -> dict[str, Any]:
    _same("bert", bert, {"hidden_act": "gelu", "is_decoder": False})
    return {
        "vocab_size": bert["vocab_size"],
        "text_hidden": bert["hidden_size"],
        "text_layers": bert["num_hidden_layers"],
        "text_heads": bert["num_attention_heads"],
        "text_intermediate": bert["intermediate_size"],
        "text_positions": bert["max_position_embeddings"],
        "text_norm_eps": bert["layer_norm_eps"],
    }


def _same(kind: str, config: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    other = {name: config[name] for name in expected if config.get(name, expected[name]) != expected[name]}
    if other:
        raise ConfigError(
            f"start.{kind}: {other}, but GLIP's needs { {name: expected[name] for name in other} }"
        )


def _take(
    model: GlipForGrounding,
    folder: Path,
    prefix: str,
    translate: Callable[[Mapping[str, Tensor]], dict[str, Tensor]],
) -> None:
    """Put a part's tensors into the model. Raises ConfigError unless each of the part's place is filled."""
    given = load_file(folder / "model.safetensors")
    tensors = translate({name.removeprefix(prefix): value for name, value in given.items()})
    places = "model.backbone." if prefix == "swin." else "model.text_encoder."
    own = model.state_dict()
    optional = {name for name in own if name.startswith("model.backbone.norms.")}
    missing = {name for name in own if name.startswith(places)} - set(tensors) - optional
    wrong = {name for name, value in tensors.items() if name not in own or own[name].shape != value.shape}
    if missing or wrong:
        raise ConfigError(
            f"{folder}: no tensor for {sorted(missing)[:5]}, none that fits for {sorted(wrong)[:5]} "
            f"({len(missing)} and {len(wrong)} in all)"
        )
    model.load_state_dict(tensors, strict=False)


def swin_tensors(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our names of a Swin's tensors, by transformers' names without `swin.`. Raises ConfigError for an unknown one."""
    tensors: dict[str, Tensor] = {}
    for name in given:
        if _UNREAD_SWIN.match(name):
            continue
        if _QKV.search(name):
            # One of three: the first of them brings all.
            stem = _QKV.sub("", name)
            last = name.rpartition(".")[2]
            three = [given[f"{stem}attention.self.{part}.{last}"] for part in ("query", "key", "value")]
            tensors[_swin_name(f"{stem}attention.qkv.{last}")] = torch.cat(three)
        else:
            tensors[_swin_name(name)] = given[name]
    return tensors


def _swin_name(name: str) -> str:
    module, _, last = name.rpartition(".")
    if match := _BLOCK.fullmatch(name):
        stage, block, rest = match.groups()
        inner = rest.rpartition(".")[0]
        ours = f"{_SWIN_BLOCK.get(inner, inner)}.{last}"
        if rest == _POSITION_BIAS:
            ours = "attention.position_bias.table"
        return f"model.backbone.stages.{stage}.blocks.{block}.{ours}"
    if match := _MERGE.fullmatch(name):
        return f"model.backbone.stages.{int(match[1]) + 1}.merge.{match[2]}"
    if match := _STAGE_NORM.fullmatch(name):
        return f"model.backbone.norms.{int(match[1]) - 2}.{match[2]}"
    stem = module.removeprefix("embeddings.")
    if stem not in _SWIN_STEM:
        raise ConfigError(f"start.swin: a Swin of transformers has no tensor {name!r}")
    return f"model.backbone.{_SWIN_STEM[stem]}.{last}"


def bert_tensors(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our names of a BERT's tensors, by transformers' names without `bert.`. Raises ConfigError for an unknown one."""
    tensors = {}
    for name, value in given.items():
        if _UNREAD_BERT.match(name):
            continue
        # The authors' text encoder is transformers' BERT, so their names lead to ours.
        modern = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
            "LayerNorm.beta", "LayerNorm.bias"
        )
        try:
            ours = translate_key(f"language_backbone.body.model.{modern}", fusion=True)
        except UnknownKeyError as error:
            raise ConfigError(f"start.bert: a BERT of transformers has no tensor {name!r}") from error
        if ours is not None:
            tensors[ours] = value
    return tensors
