"""Tiny models with random weights as Hugging Face directories: real classes of transformers, made in a second."""

from __future__ import annotations

from pathlib import Path

import torch

WORDS = (
    "a an the red blue green big small dog dogs cat cats car man woman horse circle square star ring of and on with "
    "two riding left right remote control ##s ##ing , ( ) - ' ! 1 2 3"
)
CLS, SEP, DOT, QUESTION = 101, 102, 1012, 1029


def bert_vocabulary() -> dict[str, int]:
    """Return a vocabulary in which the ids that Grounding DINO hard-codes are in their places."""
    vocabulary = {
        "[PAD]": 0,
        "[UNK]": 100,
        "[CLS]": CLS,
        "[SEP]": SEP,
        "[MASK]": 103,
        ".": DOT,
        "?": QUESTION,
    }
    vocabulary |= {word: 200 + number for number, word in enumerate(WORDS.split())}
    taken = set(vocabulary.values())
    return vocabulary | {f"[unused{number}]": number for number in range(QUESTION + 1) if number not in taken}


def vary_boxes(model: torch.nn.Module) -> None:
    """Give the box heads random weights, because their last layers begin as zero. Some boxes leave the image."""
    for name, parameter in model.named_parameters():
        if "bbox_embed" in name and name.endswith("weight"):
            torch.nn.init.normal_(parameter, std=0.1)


def save_grounding_dino(folder: Path, *, mm: bool = False, shortest: int = 128, longest: int = 192) -> Path:
    """Save a Grounding DINO (or MM-Grounding-DINO) of 0.3 M parameters with its processor."""
    from transformers import (
        BertConfig,
        BertTokenizerFast,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoProcessor,
        MMGroundingDinoConfig,
        MMGroundingDinoForObjectDetection,
        SwinConfig,
    )
    from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
        GroundingDinoImageProcessorPil,
    )

    torch.manual_seed(0)
    backbone = SwinConfig(
        image_size=128, embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    text = BertConfig(
        vocab_size=QUESTION + 1,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    config_class = MMGroundingDinoConfig if mm else GroundingDinoConfig
    config = config_class(
        backbone_config=backbone, text_config=text, d_model=32, encoder_layers=1, decoder_layers=2, num_queries=30,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64,
    )  # fmt: skip
    model = (MMGroundingDinoForObjectDetection if mm else GroundingDinoForObjectDetection)(config)
    vary_boxes(model)
    model.save_pretrained(folder)
    tokenizer = BertTokenizerFast(vocab=bert_vocabulary(), do_lower_case=True)
    images = GroundingDinoImageProcessorPil(size={"shortest_edge": shortest, "longest_edge": longest})
    GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)
    return folder
