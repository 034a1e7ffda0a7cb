"""Tiny OWL-ViT and OWLv2 models with random weights and a tokenizer like CLIP's, saved as Hugging Face directories."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from schemas.records import Phrase, Pixels, Sample

WORDS = (
    "a", "photo", "of", "the", "red", "green", "blue", "circle", "square", "star", "ring", "dog", "cat", "two",
    "patch", "on", "wall", "number", "big", "small",
)  # fmt: skip
BEGIN, END, PAD = "<|startoftext|>", "<|endoftext|>", "!"
END_OF_WORD = "</w>"
KINDS = ("owlvit", "owlv2")
TEXT_WIDTH = 32
SIDE = 64


def clip_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return vocabulary and merges as CLIP has them: all bytes, a few words, begin and end with the highest ids."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    characters = list(bytes_to_unicode().values())
    tokens = [*characters, *(character + END_OF_WORD for character in characters)]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        parts = [*word[:-1], word[-1] + END_OF_WORD]
        while len(parts) > 1:
            pair = (parts[0], parts[1])
            parts[:2] = ["".join(pair)]
            if pair not in merges:
                merges.append(pair)
                tokens.append(parts[0])
    tokens = list(dict.fromkeys([*tokens, BEGIN, END]))
    return {token: number for number, token in enumerate(tokens)}, merges


def save_owl(folder: Path, *, version: int, dtype: torch.dtype = torch.float32) -> Path:
    """Save an OWL-ViT (version 1) or OWLv2 (version 2) of 0.1 M parameters with 16 patches, and its processor."""
    import transformers
    from transformers import AddedToken, CLIPTokenizer
    from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil
    from transformers.models.owlvit.image_processing_pil_owlvit import OwlViTImageProcessorPil

    name = "OwlViT" if version == 1 else "Owlv2"
    torch.manual_seed(version)
    vocabulary, merges = clip_vocabulary()
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    text = {**sizes, "vocab_size": len(vocabulary), "hidden_size": TEXT_WIDTH, "max_position_embeddings": 16}
    text |= {"bos_token_id": vocabulary[BEGIN], "eos_token_id": vocabulary[END]}
    vision = {**sizes, "hidden_size": 48, "image_size": SIDE, "patch_size": 16}
    config = getattr(transformers, f"{name}Config")(
        text_config=text, vision_config=vision, projection_dim=TEXT_WIDTH
    )
    model = getattr(transformers, f"{name}ForObjectDetection")(config)
    _spread_answers(model)
    model.to(dtype).save_pretrained(folder)
    # a normalized token is looked for in the lower-case text, so that <|ENDOFTEXT|> is the end too
    begin, end = (AddedToken(text, normalized=True, special=True) for text in (BEGIN, END))
    tokenizer = CLIPTokenizer(
        vocab=vocabulary, merges=merges, pad_token=PAD, model_max_length=text["max_position_embeddings"],
        bos_token=begin, eos_token=end, unk_token=end,
    )  # fmt: skip
    images = (OwlViTImageProcessorPil if version == 1 else Owlv2ImageProcessorPil)(
        size={"height": SIDE, "width": SIDE}
    )
    getattr(transformers, f"{name}Processor")(images, tokenizer).save_pretrained(folder)
    return folder


def save_owls(root: Path) -> dict[str, Path]:
    """Save one model of each kind and return their directories by kind."""
    return {kind: save_owl(root / kind, version=number) for number, kind in enumerate(KINDS, 1)}


def _spread_answers(model: torch.nn.Module) -> None:
    """Enlarge random weights. The usual random start answers 0.5 and the default box everywhere."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(std=weight[0].numel() ** -0.5)
        model.class_head.logit_scale.bias += 4
        model.class_head.logit_shift.weight *= 0.2
        model.box_head.dense2.weight *= 4


def make_sample(*texts: str, width: int, height: int, decoys: tuple[str, ...] = ()) -> Sample:
    """Return a sample whose caption is the phrases, one after the other."""
    caption = ", ".join(texts)
    phrases: list[Phrase] = []
    begin = 0
    for text in texts:
        phrases.append(Phrase(begin=begin, end=begin + max(len(text), 1), text=text, root=text))
        begin += len(text) + 2
    phrases += [Phrase(text=text, root=text, kind="decoy") for text in decoys]
    return Sample(
        unit="u", shard="s", index=0, key="k", pixels=Pixels(url="file"), image_sha256="0", caption=caption,
        width=width, height=height, phrases=tuple(phrases),
    )  # fmt: skip


def make_picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return noise with a bright patch."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    pixels[: height // 2, seed : width // 2] = (220, 20, 20)
    return pixels
