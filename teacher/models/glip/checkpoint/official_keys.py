"""Translate the authors' state_dict keys: one of ours for each learned one of theirs, with equal shapes.

`translate_key` knows every key of the authors' GLIP-T (A), (B), (C), GLIP-T and GLIP-L, without the `module.` of a
data-parallel checkpoint. It raises for an unknown one. Source: state_dict of microsoft/GLIP at 9dda955.
"""

from __future__ import annotations

import re

from schemas.errors import GroundswellError

# Computed from the configuration, not learned: positions and anchors.
STRUCTURAL = re.compile(r"\.(relative_position_index|position_ids|cell_anchors\.\d+)$")
# In the files, but not used: the class logits' loss is multiplied by zero, BERT's pooler is not called.
DEAD = re.compile(r"^rpn\.head\.cls_logits\.|\.pooler\.")

# Only in a prompt-tuned checkpoint: a linear layer whose weight's rows are the tokens' offsets.
PROMPT_OFFSETS = "rpn.tunable_linear.weight"

_ATTENTION_LAYER = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "attention_output",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "intermediate",
    "output.dense": "output",
    "output.LayerNorm": "output_norm",
}
_SWIN_BLOCK = {
    "norm1": "norm1",
    "attn.relative_position_bias_table": "attention.position_bias.table",
    "attn.qkv": "attention.qkv",
    "attn.proj": "attention.output",
    "norm2": "norm2",
    "mlp.fc1": "expand",
    "mlp.fc2": "contract",
}
_FUSION = {
    "gamma_v": "image_gate",
    "gamma_l": "text_gate",
    "layer_norm_v": "image_norm",
    "layer_norm_l": "text_norm",
    "attn.v_proj": "image_query",
    "attn.l_proj": "text_key",
    "attn.values_v_proj": "image_value",
    "attn.values_l_proj": "text_value",
    "attn.out_v_proj": "image_output",
    "attn.out_l_proj": "text_output",
}
_DYNAMIC_CONV = {
    "DyConv.0.conv": "from_coarser.conv",
    "DyConv.0.bn": "from_coarser.norm",
    "DyConv.1.conv": "from_same.conv",
    "DyConv.1.bn": "from_same.norm",
    "DyConv.2.conv": "from_finer.conv",
    "DyConv.2.bn": "from_finer.norm",
    "AttnConv.1": "scale_attention",
    "relu.fc.0": "activation.squeeze",
    "relu.fc.2": "activation.expand",
    "offset": "offset",
}
_PLAIN = {
    "backbone.body.patch_embed.proj": "model.backbone.patches",
    "backbone.body.patch_embed.norm": "model.backbone.patch_norm",
    "backbone.fpn.top_blocks.p6": "model.fpn.coarser.0",
    "backbone.fpn.top_blocks.p7": "model.fpn.coarser.1",
    "language_backbone.body.model.embeddings.word_embeddings": "model.text_encoder.words",
    "language_backbone.body.model.embeddings.position_embeddings": "model.text_encoder.positions",
    "language_backbone.body.model.embeddings.token_type_embeddings": "model.text_encoder.segments",
    "language_backbone.body.model.embeddings.LayerNorm": "model.text_encoder.norm",
    PROMPT_OFFSETS: "model.prompt_offset.table",
    "rpn.head.log_scale": "alignment.log_scale",
    "rpn.head.bias_lang": "alignment.text_bias",
    "rpn.head.bias0": "alignment.bias",
    "rpn.head.dot_product_projection_text": "alignment.text_projection",
    "rpn.head.bbox_pred": "box_head.box",
    "rpn.head.centerness": "box_head.centerness",
}
# (pattern of the numbered part, its name here, names of what follows, what to add to the number)
_NUMBERED: tuple[tuple[str, str, dict[str, str], int], ...] = (
    (r"backbone\.body\.norm(\d+)", "model.backbone.norms.{}", {}, -1),
    (r"backbone\.fpn\.fpn_inner(\d+)", "model.fpn.laterals.{}", {}, -2),
    (r"backbone\.fpn\.fpn_layer(\d+)", "model.fpn.outputs.{}", {}, -2),
    (r"backbone\.body\.layers\.(\d+)\.downsample\.", "model.backbone.stages.{}.merge.", {}, 1),
    (
        r"language_backbone\.body\.model\.encoder\.layer\.(\d+)\.",
        "model.text_encoder.layers.{}.",
        _ATTENTION_LAYER,
        0,
    ),
    (r"rpn\.head\.scales\.(\d+)\.scale", "box_head.level_scales.{}", {}, 0),
)
_SWIN_PREFIX = re.compile(r"backbone\.body\.layers\.(\d+)\.blocks\.(\d+)\.")
_TOWER_PREFIX = re.compile(r"rpn\.head\.dyhead_tower\.(\d+)\.")
# With fusion the authors' flat tower repeats fusion, text layer, dynamic convolution; without, only the last.
_TOWER_PARTS = (("fusion", _FUSION), ("text_layer", _ATTENTION_LAYER), ("dynamic_conv", _DYNAMIC_CONV))


class UnknownKeyError(GroundswellError):
    """A checkpoint has a key that no GLIP of the authors has."""


def translate_key(official: str, fusion: bool) -> str | None:
    """Return our name of an official key, None for one that is structural or known to be unused.

    fusion: whether the checkpoint's tower fuses (all but GLIP-T (A)), on which its flat numbering depends
    raises: UnknownKeyError
    """
    if STRUCTURAL.search(official) or DEAD.search(official):
        return None
    found = (
        _translate_swin(official)
        or _translate_tower(official, fusion)
        or _translate_numbered(official)
        or _rename_module(official, _PLAIN)
    )
    if found is None:
        raise UnknownKeyError(
            f"the key {official!r} is in no GLIP checkpoint of the authors; check that the file is one"
        )
    return found


def _translate_swin(official: str) -> str | None:
    match = _SWIN_PREFIX.match(official)
    if match is None:
        return None
    rest = _rename_module(official[match.end() :], _SWIN_BLOCK)
    return rest and f"model.backbone.stages.{match[1]}.blocks.{match[2]}.{rest}"


def _translate_tower(official: str, fusion: bool) -> str | None:
    match = _TOWER_PREFIX.match(official)
    if match is None:
        return None
    block, part = divmod(int(match[1]), 3) if fusion else (int(match[1]), 2)
    name, names = _TOWER_PARTS[part]
    rest = _rename_module(official[match.end() :].removeprefix("b_attn."), names)
    return rest and f"model.blocks.{block}.{name}.{rest}"


def _translate_numbered(official: str) -> str | None:
    for pattern, name, names, shift in _NUMBERED:
        match = re.match(pattern, official)
        if match is not None:
            rest: str | None = official[match.end() :]
            rest = _rename_module(official[match.end() :], names) if names else rest
            return None if rest is None else name.format(int(match[1]) + shift) + rest
    return None


def _rename_module(key: str, names: dict[str, str]) -> str | None:
    """Return the key with its module renamed. Its last part is `weight`, `bias` or, for a bare parameter, nothing."""
    if key in names:
        return names[key]
    module, _, last = key.rpartition(".")
    return f"{names[module]}.{last}" if module in names and last in ("weight", "bias") else None
