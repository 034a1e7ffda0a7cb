"""The teacher's start: a tiny GLIP with random weights and the world's vocabulary, as a model directory."""

from __future__ import annotations

from pathlib import Path

import torch

from pipelines.demo.world.lexicon import vocabulary
from pipelines.demo.world.settings import WorldSettings
from teacher.models.glip import GlipForGrounding, GlipProcessor, tiny_world
from teacher.models.glip.tokenizers.word import make_word_tokenizer

_POSITION_SCALE = 0.1


def write_start(folder: Path, world: WorldSettings, *, fusion: bool = True) -> Path:
    """Write model and processor; the weights are a function of the world's seed. fusion: as GLIP's, or text alone."""
    tokenizer = make_word_tokenizer(vocabulary())
    config = tiny_world(vocab_size=len(tokenizer))
    config.fusion = fusion
    torch.manual_seed(world.seed)
    model = GlipForGrounding(config)
    # Order says little in this world: at full size the position would drown the word that it is added to.
    with torch.no_grad():
        model.model.text_encoder.positions.weight.mul_(_POSITION_SCALE)
    processor = GlipProcessor(
        tokenizer,
        shorter_side=world.side_px,
        longer_side=world.side_px,
        max_tokens=config.text_positions,
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
