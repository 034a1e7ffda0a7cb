"""Build a GLIP whose image backbone is a Hugging Face Swin and whose text encoder is a Hugging Face BERT.

Fusion, pyramid and heads begin with random values as the authors', a function of the seed. Weights are not converted.
So a Swin that was trained on RGB reads BGR, as in the authors' training (`processor: {channel_order: rgb}` changes it).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor

from schemas.errors import ConfigError, NotFoundError
from student.settings.train import PartsStart
from teacher.models.glip import GlipForGrounding, GlipProcessor
from teacher.models.glip.checkpoint.official_keys import UnknownKeyError, translate_key
from teacher.models.glip.config import GlipConfig
from teacher.models.glip.tokenizers.bert import load_bert_tokenizer
from teacher.models.weight_files import WEIGHTS

_Built = TypeVar("_Built")
# Our names by transformers' names, in a block of Swin; query, key and value become one.
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
# The last norm and head of the classifier, and computed buffers: a detector does not need them.
_UNUSED_SWIN = re.compile(
    r"(layernorm\.|classifier\.|pooler\.|.*relative_position_index$|hidden_states_norms\.stage1)"
)
_UNUSED_BERT = re.compile(r"(pooler\.|cls\.|.*position_ids$)")


def build_from_parts(
    start: PartsStart, random_layers: Mapping[str, float], seed: int
) -> tuple[GlipForGrounding, GlipProcessor]:
    """Build the model and its processor. Raise ConfigError for parts that do not fit into a GLIP."""
    swin, bert = Path(start.swin), Path(start.bert)
    fields = {**_swin_fields(_read_config(swin, "swin")), **_bert_fields(_read_config(bert, "bert"))}
    config = _construct(GlipConfig, {**fields, **random_layers, **start.config}, "start.config")
    torch.manual_seed(seed)
    model = GlipForGrounding(config)
    _load_part(model, swin, "swin.", translate_swin)
    _load_part(model, bert, "bert.", translate_bert)
    tokenizer = load_bert_tokenizer(config.vocab_size, bert)
    options = {"tokenizer": tokenizer, "max_tokens": min(256, config.text_positions), **start.processor}
    return model, _construct(GlipProcessor, options, "start.processor")


def _construct(kind: Callable[..., _Built], fields: Mapping[str, Any], setting: str) -> _Built:
    """Return `kind(**fields)`. Raise ConfigError that names the setting if the fields are not valid."""
    try:
        return kind(**fields)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{setting}: {error}") from error


def _read_config(folder: Path, kind: str) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise NotFoundError(f"start.{kind} {folder}: expected a Hugging Face directory with config.json")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        found = values.get("model_type")
    except (ValueError, RecursionError, AttributeError) as error:
        raise ConfigError(
            f"start.{kind} {path}: expected a JSON object ({error}); download the directory again"
        ) from error
    if found != kind:
        raise ConfigError(
            f"start.{kind} {folder}: its model_type is {found!r}, expected {kind!r}; give a directory of a {kind} model"
        )
    return dict(values)


def _swin_fields(swin: Mapping[str, Any]) -> dict[str, Any]:
    expected: dict[str, bool | int | str] = {
        "patch_size": 4,
        "num_channels": 3,
        "hidden_act": "gelu",
        "use_absolute_embeddings": False,
    }
    _check_fields("swin", swin, {**expected, "qkv_bias": True})
    return {
        "swin_embed_dim": swin["embed_dim"],
        "swin_depths": swin["depths"],
        "swin_heads": swin["num_heads"],
        "swin_window": swin["window_size"],
        "swin_mlp_ratio": swin["mlp_ratio"],
    }


def _bert_fields(bert: Mapping[str, Any]) -> dict[str, Any]:
    _check_fields("bert", bert, {"hidden_act": "gelu", "is_decoder": False})
    return {
        "vocab_size": bert["vocab_size"],
        "text_hidden": bert["hidden_size"],
        "text_layers": bert["num_hidden_layers"],
        "text_heads": bert["num_attention_heads"],
        "text_intermediate": bert["intermediate_size"],
        "text_positions": bert["max_position_embeddings"],
        "text_norm_eps": bert["layer_norm_eps"],
    }


def _check_fields(kind: str, config: Mapping[str, Any], expected: Mapping[str, bool | int | str]) -> None:
    """Raise ConfigError if the configuration of a part differs from what GLIP expects."""
    other = {name: config[name] for name in expected if config.get(name, expected[name]) != expected[name]}
    if other:
        raise ConfigError(
            f"start.{kind}: {other}, but GLIP needs { {name: expected[name] for name in other} }; give a model "
            "that has them"
        )


def _load_part(
    model: GlipForGrounding,
    folder: Path,
    prefix: str,
    translate: Callable[[Mapping[str, Tensor]], dict[str, Tensor]],
) -> None:
    """Load a part's tensors into the model. Raise ConfigError unless they fill all of the part's parameters."""
    source = load_file(folder / WEIGHTS)
    tensors = translate({name.removeprefix(prefix): value for name, value in source.items()})
    places = "model.backbone." if prefix == "swin." else "model.text_encoder."
    own = model.state_dict()
    optional = {name for name in own if name.startswith("model.backbone.norms.")}
    missing = {name for name in own if name.startswith(places)} - set(tensors) - optional
    wrong = {name for name, value in tensors.items() if name not in own or own[name].shape != value.shape}
    if missing or wrong:
        raise ConfigError(
            f"{folder}: no tensor for {sorted(missing)[:5]} ({len(missing)} in total), no tensor of the right shape "
            f"for {sorted(wrong)[:5]} ({len(wrong)} in total); give the complete weights, or correct start.config"
        )
    model.load_state_dict(tensors, strict=False)


def translate_swin(source: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a Swin's tensors by our names, from transformers' names without `swin.`.

    raises: ConfigError for an unknown name
    """
    tensors: dict[str, Tensor] = {}
    for name in source:
        if _UNUSED_SWIN.match(name):
            continue
        if _QKV.search(name):
            # One of three. Each of them adds all three, concatenated.
            stem = _QKV.sub("", name)
            last = name.rpartition(".")[2]
            three = [source[f"{stem}attention.self.{part}.{last}"] for part in ("query", "key", "value")]
            tensors[_swin_name(f"{stem}attention.qkv.{last}")] = torch.cat(three)
        else:
            tensors[_swin_name(name)] = source[name]
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
        raise ConfigError(f"start.swin: unknown tensor {name!r}; expected those of a Swin of transformers")
    return f"model.backbone.{_SWIN_STEM[stem]}.{last}"


def translate_bert(source: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a BERT's tensors by our names, from transformers' names without `bert.`.

    raises: ConfigError for an unknown name
    """
    tensors = {}
    for name, value in source.items():
        if _UNUSED_BERT.match(name):
            continue
        # The authors' text encoder is transformers' BERT, so the map from their names to ours applies.
        modern = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
            "LayerNorm.beta", "LayerNorm.bias"
        )
        try:
            ours = translate_key(f"language_backbone.body.model.{modern}", fusion=True)
        except UnknownKeyError as error:
            raise ConfigError(
                f"start.bert: unknown tensor {name!r}; expected those of a BERT of transformers"
            ) from error
        if ours is not None:
            tensors[ours] = value
    return tensors
