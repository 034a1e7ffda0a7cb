"""Write the start model of the teacher: a tiny GLIP with random weights and the world's vocabulary."""

from __future__ import annotations

from pathlib import Path

import torch

from pipelines.demo.world.lexicon import list_vocabulary
from pipelines.demo.world.settings import WorldSettings
from teacher.models.glip import GlipForGrounding, GlipProcessor, tiny_world
from teacher.models.glip.tokenizers.word import make_word_tokenizer

_POSITION_SCALE = 0.1


def write_start(folder: Path, world: WorldSettings, *, fusion: bool = True) -> Path:
    """Write model and processor to a folder. fusion: as in GLIP; False: image and text features are not fused.

    The weights are a function of the world's seed.
    """
    tokenizer = make_word_tokenizer(list_vocabulary())
    config = tiny_world(vocab_size=len(tokenizer))
    config.fusion = fusion
    torch.manual_seed(world.seed)
    model = GlipForGrounding(config)
    # Word order matters little here. At full scale the position embedding would dominate the word embedding.
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
