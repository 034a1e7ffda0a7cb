"""The architectures of well-known teachers with random weights, saved as Hugging Face directories.

A random model is as fast and as large as the published one. Configurations are the defaults of `transformers`, or what
the model's page says where those are another size. Image sizes are the published ones. A tokenizer knows the words of
the phrases, so that a text has about as many tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers as hf

from teacher.detectors.coco_classes import COCO_CLASSES

BEGIN, END, END_OF_WORD = "<|startoftext|>", "<|endoftext|>", "</w>"
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?-'\"()[]:;/&%$#"
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
CLIP = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
}
NAMES: dict[str, Any] = {
    "id2label": dict(enumerate(COCO_CLASSES)),
    "label2id": {name: number for number, name in enumerate(COCO_CLASSES)},
}
SHORT_800 = {"size": {"shortest_edge": 800, "longest_edge": 1333}, **IMAGENET}


def square(side: int) -> dict[str, Any]:
    """Return the image settings of a model that sees squares."""
    return {"size": {"height": side, "width": side}}


@dataclass(frozen=True)
class Architecture:
    """One model of the page of teachers."""

    name: str
    """As in the table of docs/teachers.md."""
    kind: str
    build: Callable[[], torch.nn.Module]
    images: Mapping[str, Any]
    tokenizer: Callable[[Iterable[str]], Any] | None = None

    def save(self, folder: Path, words: Iterable[str]) -> Path:
        """Save the model with random weights, always the same ones."""
        torch.manual_seed(0)
        model: Any = self.build()
        model.save_pretrained(folder)
        if self.tokenizer is not None:
            self.tokenizer(words).save_pretrained(folder)
        usual = {
            "do_resize": True,
            "do_rescale": True,
            "do_normalize": True,
            "rescale_factor": 1 / 255,
            "resample": 2,
        }
        (folder / "preprocessor_config.json").write_text(json.dumps({**usual, **self.images}))
        return folder


def make_bert_tokenizer(words: Iterable[str]) -> Any:
    """Return a BERT tokenizer with these words. Grounding DINO needs its special tokens at their usual places."""
    fixed = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
    vocabulary = fixed | {word: 2000 + place for place, word in enumerate(sorted(set(words) - {".", "?"}))}
    taken = set(vocabulary.values())
    vocabulary |= {f"[unused{number}]": number for number in range(max(taken)) if number not in taken}
    return hf.BertTokenizer(vocab=vocabulary)


def make_clip_tokenizer(words: Iterable[str]) -> Any:
    """Return a CLIP tokenizer with these words. The last of its ids is the end of a text."""
    tokens = [*LETTERS, *(letter + END_OF_WORD for letter in LETTERS)]
    merges: dict[tuple[str, str], None] = {}
    for word in sorted({word for word in words if set(word) <= set(LETTERS)}):
        parts = [*word[:-1], word[-1] + END_OF_WORD]
        while len(parts) > 1:
            merges[parts[0], parts[1]] = None
            tokens.append(parts[0] + parts[1])
            parts = [parts[0] + parts[1], *parts[2:]]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys([*tokens, BEGIN, END]))}
    pairs: Any = list(merges)
    return hf.CLIPTokenizer(vocab=vocabulary, merges=pairs)


def split_words(captions: Iterable[str]) -> set[str]:
    """Return the words and signs of captions in lower case."""
    return {word for caption in captions for word in re.findall(r"\w+|[^\w\s]", caption.lower())}


def _build_dino_base() -> torch.nn.Module:
    backbone = hf.SwinConfig(  # type: ignore[call-arg]  # transformers' classes of settings have no types
        image_size=384, embed_dim=128, depths=[2, 2, 18, 2], num_heads=[4, 8, 16, 32], window_size=12,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    return hf.GroundingDinoForObjectDetection(hf.GroundingDinoConfig(backbone_config=backbone))


def _build_omdet_turbo() -> torch.nn.Module:
    backbone = hf.SwinConfig(  # type: ignore[call-arg]  # the published one is timm's, of the same size
        image_size=640, embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = hf.OmDetTurboConfig(backbone_config=backbone, apply_layernorm_after_vision_backbone=False)
    return hf.OmDetTurboForObjectDetection(config)


def _build_dfine_xlarge() -> torch.nn.Module:
    backbone = hf.HGNetV2Config(  # type: ignore[call-arg]
        stem_channels=[3, 32, 64], stage_in_channels=[64, 128, 512, 1024], stage_mid_channels=[64, 128, 256, 512],
        stage_out_channels=[128, 512, 1024, 2048], stage_num_blocks=[1, 2, 5, 2],
        stage_downsample=[False, True, True, True], stage_light_block=[False, False, True, True],
        stage_kernel_size=[3, 3, 5, 5], stage_numb_of_layers=[6, 6, 6, 6],
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = hf.DFineConfig(
        backbone_config=backbone, encoder_in_channels=[512, 1024, 2048], encoder_hidden_dim=384,
        encoder_ffn_dim=2048, decoder_in_channels=[384, 384, 384], **NAMES,
    )  # fmt: skip
    return hf.DFineForObjectDetection(config)


OMDET_IMAGES = {**square(640), "image_mean": [123.675, 116.28, 103.53], "image_std": [58.395, 57.12, 57.375]}
ARCHITECTURES = (
    Architecture(
        "Grounding DINO tiny", "grounding-dino",
        lambda: hf.GroundingDinoForObjectDetection(hf.GroundingDinoConfig()), SHORT_800, make_bert_tokenizer,
    ),
    Architecture("Grounding DINO base", "grounding-dino", _build_dino_base, SHORT_800, make_bert_tokenizer),
    Architecture(
        "MM-Grounding-DINO tiny", "mm-grounding-dino",
        lambda: hf.MMGroundingDinoForObjectDetection(hf.MMGroundingDinoConfig()), SHORT_800, make_bert_tokenizer,
    ),
    Architecture(
        "LLMDet tiny", "mm-grounding-dino",
        lambda: hf.MMGroundingDinoForObjectDetection(hf.MMGroundingDinoConfig()), SHORT_800, make_bert_tokenizer,
    ),
    Architecture(
        "OWLv2 base", "owlv2",
        lambda: hf.Owlv2ForObjectDetection(hf.Owlv2Config(vision_config={"image_size": 960, "patch_size": 16})),
        {**square(960), **CLIP, "do_pad": True}, make_clip_tokenizer,
    ),
    Architecture(
        "OWL-ViT base", "owlvit", lambda: hf.OwlViTForObjectDetection(hf.OwlViTConfig()),
        {**square(768), **CLIP}, make_clip_tokenizer,
    ),
    Architecture(
        "OmDet-Turbo tiny", "omdet-turbo", _build_omdet_turbo,
        {**OMDET_IMAGES, "do_rescale": False}, make_clip_tokenizer,
    ),
    Architecture(
        "SAM 3", "sam3", lambda: hf.Sam3Model(hf.Sam3Config()), {**square(1008), **HALF}, make_clip_tokenizer
    ),
    Architecture(
        "RT-DETR R50", "detector", lambda: hf.RTDetrForObjectDetection(hf.RTDetrConfig(**NAMES)),
        {**square(640), "do_normalize": False, "image_processor_type": "RTDetrImageProcessor"},
    ),
    Architecture(
        "D-FINE X", "detector", _build_dfine_xlarge,
        {**square(640), "do_normalize": False, "image_processor_type": "RTDetrImageProcessor"},
    ),
)  # fmt: skip


def _build_tiny_owl() -> torch.nn.Module:
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = hf.OwlViTConfig(
        text_config={**small, "vocab_size": 1000},
        vision_config={**small, "image_size": 64},
        projection_dim=32,
    )
    return hf.OwlViTForObjectDetection(config)


TINY = Architecture("tiny", "owlvit", _build_tiny_owl, {**square(64), **CLIP}, make_clip_tokenizer)
"""A model of milliseconds, to try the program."""


def find_architecture(name: str) -> Architecture:
    """Return an architecture by its name. Raises KeyError."""
    return {one.name: one for one in (*ARCHITECTURES, TINY)}[name]
