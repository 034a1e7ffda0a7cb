"""A tiny GLIP directory with random weights: the authors' structure, small enough for milliseconds."""

from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def glip_folder(tmp_path_factory) -> Path:
    from teacher.models.glip import GlipForGrounding, GlipProcessor, tiny_world
    from teacher.models.glip.tokenizers.word import make_word_tokenizer

    torch.manual_seed(0)
    torch.set_num_threads(1)
    words = [
        "a",
        "red",
        "blue",
        "green",
        "circle",
        "square",
        "star",
        "ring",
        "stock",
        "photo",
        "of",
        "and",
        ",",
        "the",
        "two",
    ]
    tokenizer = make_word_tokenizer(words)
    model = GlipForGrounding(tiny_world(len(tokenizer)))
    # Random weights say "nothing" everywhere; a raised start of the logits makes boxes to look at.
    with torch.no_grad():
        model.alignment.bias += 4.5
    folder = tmp_path_factory.mktemp("glip")
    model.save_pretrained(folder)
    processor = GlipProcessor(tokenizer, shorter_side=96, longer_side=160, max_tokens=24)
    processor.save_pretrained(folder)
    return folder
