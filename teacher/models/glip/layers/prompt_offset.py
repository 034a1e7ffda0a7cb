"""Prompt tuning: add a learned offset to each token of one fixed prompt. No other part of the model is trained.

The model stores the prompt of its offsets, and refuses any other prompt. Source: GLIP,
arXiv 2112.03857, section 4.3 (the authors' language_prompt_v2). The offset of a token is a row of the table.
"""

# B images, T tokens, D text width
from __future__ import annotations

import torch
from torch import Tensor, nn

from schemas.errors import ConfigError
from teacher.models.glip.config import GlipConfig

# A row with only the two special tokens is a blank row of a batch.
_BLANK_TOKENS = 2


class PromptOffset(nn.Module):
    """Add the table to the text before the tower, padding included, as the authors do."""

    def __init__(self, config: GlipConfig) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(config.prompt_offset_tokens, config.text_hidden))
        self.prompt, self.ids = config.tuned_prompt, config.tuned_prompt_ids

    def forward(self, text_BTD: Tensor, input_ids_BT: Tensor, attention_mask_BT: Tensor) -> Tensor:
        """Return the text with offsets. Raises ConfigError for a row with another prompt than that of the offsets."""
        self._check(input_ids_BT, attention_mask_BT)
        return text_BTD + self.table[: text_BTD.shape[1]]

    def _check(self, input_ids_BT: Tensor, attention_mask_BT: Tensor) -> None:
        width = input_ids_BT.shape[1]
        if width > len(self.table):
            raise ConfigError(
                f"a text of {width} tokens, but offsets for {len(self.table)}; use a shorter text"
            )
        ids = torch.tensor(self.ids[:width], device=input_ids_BT.device)
        own_T = nn.functional.pad(ids, (0, width - len(ids)), value=-1)
        read_BT = torch.where(attention_mask_BT > 0, input_ids_BT, -1)
        asks_B = (attention_mask_BT > 0).sum(dim=1) > _BLANK_TOKENS
        if bool((asks_B & (read_BT != own_T).any(dim=1)).any()):
            raise ConfigError(
                f"this model was tuned for the prompt {self.prompt!r} alone; use that prompt, or the model "
                "it was tuned from"
            )
