"""Tiny closed-set detectors with random weights, saved as Hugging Face directories, one for each model class."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

NAMES = ("N/A", "person", "car", "cat", "dog", "horse")
"""Class names in COCO-91's manner: index 0 is no class."""
SIDE = 64
"""Side of the exact size of the models that take one."""


def save_detector(kind: str, folder: Path, names: Sequence[str] | None = NAMES, **images: Any) -> Path:
    """Save a random detector of a model type with its image settings.

    names:  class names; None: the default `LABEL_0`, ... for as many classes as NAMES
    images: entries of preprocessor_config.json that replace the kind's own. `...` removes one
    """
    model_class, config = RECIPES[kind]()
    config.id2label = {number: f"LABEL_{number}" for number in range(len(NAMES))}
    if names is not None:
        config.id2label = dict(enumerate(names))
    config.label2id = {name: number for number, name in config.id2label.items()}
    torch.manual_seed(0)
    model = model_class(config)
    spread_answers(model)
    model.save_pretrained(folder)
    values = {name: value for name, value in {**image_settings(kind), **images}.items() if value is not ...}
    (folder / "preprocessor_config.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


def spread_answers(model: torch.nn.Module) -> None:
    """Raise the random weights of the heads. Fresh heads give all boxes of all images about the same answer."""
    heads = ("class_embed", "class_labels_classifier", "enc_score_head", "bbox_embed", "bbox_predictor")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if any(head in name for head in heads) and "denoising" not in name:
                if parameter.ndim > 1:
                    parameter.normal_(0, 1.5 / parameter.shape[-1] ** 0.5)
                else:
                    parameter.zero_()
        if hasattr(model, "bbox_predictor"):  # of the DETR family: queries are alike at the start
            for name, parameter in model.named_parameters():
                if "query_position_embeddings" in name or "detection_tokens" in name:
                    parameter.normal_(0, 3)


def image_settings(kind: str) -> dict[str, Any]:
    """Return preprocessor_config.json as published checkpoints of that model type have it."""
    common = {"do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255, "resample": 2}
    imagenet = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    if kind in ("rt_detr", "rt_detr_v2", "d_fine", "deimv2"):
        return {
            **common,
            **imagenet,
            "image_processor_type": "RTDetrImageProcessor",
            "do_normalize": False,
            "do_pad": False,
            "size": {"height": SIDE, "width": SIDE},
        }
    if kind == "rf_detr":
        return {
            **common,
            **imagenet,
            "image_processor_type": "RfDetrImageProcessor",
            "do_normalize": True,
            "do_pad": True,
            "size": {"height": SIDE, "width": SIDE},
        }
    exact = {"size": {"height": SIDE, "width": SIDE}} if kind == "lw_detr" else {}
    processors = {
        "lw_detr": "DeformableDetrImageProcessor",
        "detr": "DetrImageProcessor",
        "table-transformer": "DetrImageProcessor",
        "dab-detr": "ConditionalDetrImageProcessor",
        "conditional_detr": "ConditionalDetrImageProcessor",
        "deformable_detr": "DeformableDetrImageProcessor",
        "yolos": "YolosImageProcessor",
    }
    return {
        **common,
        **imagenet,
        "image_processor_type": processors[kind],
        "do_normalize": True,
        "do_pad": True,
        **{"size": {"shortest_edge": 64, "longest_edge": 112}, **exact},
    }


def _resnet(**changes: Any) -> Any:
    from transformers import ResNetConfig

    return ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], layer_type="basic",
        **{"out_features": ["stage1", "stage2", "stage3", "stage4"], **changes},
    )  # fmt: skip


SMALL = {
    "d_model": 32, "num_queries": 12, "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
}  # fmt: skip


def _detr() -> tuple[type, Any]:
    from transformers import DetrConfig, DetrForObjectDetection

    return DetrForObjectDetection, DetrConfig(use_timm_backbone=False, backbone_config=_resnet(), **SMALL)


def _table_transformer() -> tuple[type, Any]:
    from transformers import TableTransformerConfig, TableTransformerForObjectDetection

    config = TableTransformerConfig(use_timm_backbone=False, backbone_config=_resnet(), **SMALL)
    return TableTransformerForObjectDetection, config


def _conditional_detr() -> tuple[type, Any]:
    from transformers import ConditionalDetrConfig, ConditionalDetrForObjectDetection

    config = ConditionalDetrConfig(use_timm_backbone=False, backbone_config=_resnet(), **SMALL)
    return ConditionalDetrForObjectDetection, config


def _dab_detr() -> tuple[type, Any]:
    from transformers import DabDetrConfig, DabDetrForObjectDetection

    small = {**SMALL, "hidden_size": SMALL["d_model"]}
    small.pop("d_model")
    config = DabDetrConfig(use_timm_backbone=False, backbone_config=_resnet(), **small)
    return DabDetrForObjectDetection, config


def _deformable_detr() -> tuple[type, Any]:
    from transformers import DeformableDetrConfig, DeformableDetrForObjectDetection

    backbone = _resnet(out_features=["stage2", "stage3", "stage4"])
    config = DeformableDetrConfig(
        use_timm_backbone=False, backbone_config=backbone, num_feature_levels=4, with_box_refine=True,
        disable_custom_kernels=True, **SMALL,
    )  # fmt: skip
    return DeformableDetrForObjectDetection, config


def _yolos() -> tuple[type, Any]:
    from transformers import YolosConfig, YolosForObjectDetection

    return YolosForObjectDetection, YolosConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=[64, 96],
        num_detection_tokens=10,
    )  # fmt: skip


HYBRID = {
    "encoder_hidden_dim": 32, "encoder_in_channels": [8, 16, 16], "encoder_layers": 1, "encoder_ffn_dim": 32,
    "encoder_attention_heads": 2, "d_model": 32, "num_queries": 12, "decoder_in_channels": [32, 32, 32],
    "decoder_ffn_dim": 32, "decoder_layers": 2, "decoder_attention_heads": 2, "num_denoising": 0,
}  # fmt: skip


def _rt_resnet() -> Any:
    from transformers import RTDetrResNetConfig

    return RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip


def _hgnet() -> Any:
    from transformers import HGNetV2Config

    return HGNetV2Config(
        stem_channels=[3, 8, 8], stage_in_channels=[8, 8, 8, 16], stage_mid_channels=[8, 8, 8, 8],
        stage_out_channels=[8, 8, 16, 16], stage_num_blocks=[1, 1, 1, 1], stage_numb_of_layers=[1, 1, 1, 1],
        depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 16, 16], embedding_size=8,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip


def _rt_detr() -> tuple[type, Any]:
    from transformers import RTDetrConfig, RTDetrForObjectDetection

    return RTDetrForObjectDetection, RTDetrConfig(backbone_config=_rt_resnet(), **HYBRID)


def _rt_detr_v2() -> tuple[type, Any]:
    from transformers import RTDetrV2Config, RTDetrV2ForObjectDetection

    return RTDetrV2ForObjectDetection, RTDetrV2Config(backbone_config=_rt_resnet(), **HYBRID)


def _d_fine() -> tuple[type, Any]:
    from transformers import DFineConfig, DFineForObjectDetection

    return DFineForObjectDetection, DFineConfig(backbone_config=_hgnet(), max_num_bins=8, **HYBRID)


def _deimv2() -> tuple[type, Any]:
    from transformers import Deimv2Config, Deimv2ForObjectDetection

    return Deimv2ForObjectDetection, Deimv2Config(backbone_config=_hgnet(), max_num_bins=8, **HYBRID)


def _lw_detr() -> tuple[type, Any]:
    from transformers import LwDetrConfig, LwDetrForObjectDetection
    from transformers.models.lw_detr.configuration_lw_detr import LwDetrViTConfig

    backbone = LwDetrViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=SIDE, pretrain_image_size=SIDE,
        patch_size=16, num_windows=4, window_block_indices=[0], out_features=["stage1", "stage2"], mlp_ratio=2,
    )  # fmt: skip
    config = LwDetrConfig(
        backbone_config=backbone, projector_scale_factors=[1.0], d_model=32, decoder_ffn_dim=32, decoder_layers=2,
        decoder_self_attention_heads=2, decoder_cross_attention_heads=2, num_queries=12, group_detr=2, c2f_num_blocks=1,
    )  # fmt: skip
    return LwDetrForObjectDetection, config


def _rf_detr() -> tuple[type, Any]:
    from transformers import RfDetrConfig, RfDetrForObjectDetection
    from transformers.models.rf_detr.configuration_rf_detr import RfDetrDinov2Config

    backbone = RfDetrDinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=SIDE, patch_size=16, num_windows=4,
        out_features=["stage1", "stage2"],
    )  # fmt: skip
    config = RfDetrConfig(
        backbone_config=backbone, d_model=32, decoder_ffn_dim=32, decoder_layers=2, decoder_self_attention_heads=2,
        decoder_cross_attention_heads=2, num_queries=12, group_detr=2, intermediate_size=32,
    )  # fmt: skip
    return RfDetrForObjectDetection, config


RECIPES: Mapping[str, Callable[[], tuple[type, Any]]] = {
    "detr": _detr,
    "table-transformer": _table_transformer,
    "conditional_detr": _conditional_detr,
    "dab-detr": _dab_detr,
    "deformable_detr": _deformable_detr,
    "yolos": _yolos,
    "rt_detr": _rt_detr,
    "rt_detr_v2": _rt_detr_v2,
    "d_fine": _d_fine,
    "deimv2": _deimv2,
    "rf_detr": _rf_detr,
    "lw_detr": _lw_detr,
}
