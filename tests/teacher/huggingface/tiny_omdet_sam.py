"""Tiny OmDet-Turbo and SAM 3 models with random weights, saved as Hugging Face directories."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from schemas.records import Phrase, Pixels, Region, Sample

WORDS = [
    "a",
    "the",
    "red",
    "blue",
    "big",
    "dog",
    "dogs",
    "cat",
    "car",
    "horse",
    "circle",
    "of",
    "and",
    "detect",
]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789<|>.,!?-'\"()[]:;/"
BEGIN, END = "<|startoftext|>", "<|endoftext|>"


def clip_tokenizer(words: tuple[str, ...] | list[str] = WORDS) -> Any:
    """Return a CLIP tokenizer that knows some words whole and spells all others. Its last id is the end of a text."""
    from transformers import CLIPTokenizer

    tokens = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    merges = []
    for word in words:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            joined = parts[0] + parts[1]
            if (parts[0], parts[1]) not in merges:
                merges.append((parts[0], parts[1]))
                tokens.append(joined)
            parts = [joined, *parts[2:]]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys([*tokens, BEGIN, END]))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges)


def save_omdet_turbo(folder: Path, *, side: int = 128, class_width: int = 24, queries: int = 20) -> Path:
    """Save an OmDet-Turbo of 0.5 M parameters. Images are stretched to a square."""
    from transformers import CLIPTextConfig, OmDetTurboConfig, OmDetTurboForObjectDetection, SwinConfig

    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    backbone = SwinConfig(
        image_size=side, embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    text = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=class_width, intermediate_size=32, projection_dim=class_width,
        num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=77, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    config = OmDetTurboConfig(
        backbone_config=backbone, text_config=text, apply_layernorm_after_vision_backbone=False, image_size=side,
        text_projection_in_dim=class_width, text_projection_out_dim=class_width, class_embed_dim=class_width,
        task_encoder_hidden_dim=32, num_queries=queries, encoder_hidden_dim=32, d_model=32,
        vision_features_channels=[32, 32, 32], encoder_in_channels=[32, 64, 128], encoder_attention_heads=2,
        encoder_dim_feedforward=64, decoder_hidden_dim=32, decoder_num_heads=2, decoder_num_layers=2,
        decoder_dim_feedforward=64,
    )  # fmt: skip
    model = OmDetTurboForObjectDetection(config)
    shake(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    # the values of the published directory: pixels are not divided by 255
    write_image_settings(folder, side, [123.675, 116.28, 103.53], [58.395, 57.12, 57.375], do_rescale=False)
    return folder


def save_sam3(folder: Path, *, lite: bool = False, side: int = 56) -> Path:
    """Save a SAM 3 (or SAM 3 LiteText) of 0.3 M parameters. Images are stretched to a square."""
    import transformers as hf

    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    vision = hf.Sam3VisionConfig(
        backbone_config={
            "model_type": "sam3_vit_model", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 2, "image_size": side, "patch_size": 14, "window_size": 2,
            "global_attn_indexes": [1], "pretrain_image_size": 28,
        },
        fpn_hidden_size=32, backbone_feature_sizes=[[side // 14 * n] * 2 for n in (4, 2, 1)],
    )  # fmt: skip
    part = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    text: dict[str, Any] = {
        "vocab_size": len(tokenizer), "projection_dim": 16, "num_hidden_layers": 3, "max_position_embeddings": 32,
        **part,
    }  # fmt: skip
    if not lite:
        text |= {"model_type": "clip_text_model", "eos_token_id": tokenizer.eos_token_id}
    config = (hf.Sam3LiteTextConfig if lite else hf.Sam3Config)(
        vision_config=vision,
        text_config=text,
        geometry_encoder_config={**part, "num_layers": 1},
        detr_encoder_config={**part, "num_layers": 1},
        detr_decoder_config={**part, "num_layers": 2, "num_queries": 12},
        mask_decoder_config={"hidden_size": 32, "num_attention_heads": 2, "num_upsampling_stages": 2},
    )
    model = (hf.Sam3LiteTextModel if lite else hf.Sam3Model)(config)
    shake(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_image_settings(folder, side, [0.5] * 3, [0.5] * 3)
    return folder


def shake(model: torch.nn.Module) -> None:
    """Add noise to all weights, so that boxes and scores differ between queries, phrases and images."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.15 * torch.randn(parameter.shape, generator=generator)


def write_image_settings(folder: Path, side: int, mean: list[float], std: list[float], **more: bool) -> None:
    """Write the settings of an image processor that stretches to a square."""
    values = {"size": {"height": side, "width": side}, "image_mean": mean, "image_std": std, "resample": 2}
    values |= {"rescale_factor": 1 / 255, "do_rescale": True, "do_normalize": True, "do_resize": True, **more}
    (folder / "preprocessor_config.json").write_text(json.dumps(values))


def save_as_video(folder: Path, video: Path) -> Path:
    """Save a SAM 3 directory as the published one is: the config of the video model, with the detector inside."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, video)
    detector = json.loads((folder / "config.json").read_text())
    config = {"model_type": "sam3_video", "architectures": ["Sam3VideoModel"], "detector_config": detector}
    (video / "config.json").write_text(json.dumps(config))
    weights = {
        f"detector_model.{name}": value for name, value in load_file(folder / "model.safetensors").items()
    }
    weights["tracker_neck.fpn_layers.0.proj1.bias"] = torch.zeros(1)
    save_file(weights, video / "model.safetensors", metadata={"format": "pt"})
    return video


def make_sample(*texts: str, decoys: tuple[str, ...] = (), width: int = 90, height: int = 60) -> Sample:
    """Return a sample whose caption is its phrases, one after the other."""
    caption = " ".join(texts)
    phrases, begin = [], 0
    for text in texts:
        phrases.append(Phrase(begin=begin, end=begin + len(text), text=text, root=text))
        begin += len(text) + 1
    phrases += [Phrase(text=text, root=text, kind="decoy") for text in decoys]
    return Sample(
        unit="u", shard="s", index=0, key="k", pixels=Pixels(url="file"), image_sha256="0", caption=caption,
        width=width, height=height, phrases=tuple(phrases),
    )  # fmt: skip


def make_picture(seed: int = 0, width: int = 90, height: int = 60) -> np.ndarray:
    """Return an image of coarse random blocks."""
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(blocks, "RGB").resize((width, height), Image.Resampling.NEAREST))


def numbers_of(regions: Sequence[Region]) -> np.ndarray:
    """Return regions as rows: phrase, box, score, class score, quality."""
    rows = [(r.phrase, r.x0, r.y0, r.x1, r.y1, r.score, r.class_score or 0, r.quality or 0) for r in regions]
    return np.array(rows, dtype=np.float64).reshape(-1, 8)


def assert_same_regions(regions: Sequence[Region], expected: Sequence[Region]) -> None:
    """Fail unless phrases are equal, and scores and boxes (as fractions of the image) within 1e-5."""
    sides = np.array([1, 90, 60, 90, 60, 1, 1, 1])
    np.testing.assert_allclose(numbers_of(regions) / sides, numbers_of(expected) / sides, atol=1e-5, rtol=0)


def scale_to_image(corners_N4: np.ndarray, width: int = 90, height: int = 60) -> np.ndarray:
    """Return boxes in pixels, clipped, from corners as fractions."""
    sides = np.array([width, height, width, height])
    return np.clip(corners_N4 * sides, 0, sides)
