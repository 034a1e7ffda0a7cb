"""The prompts of a batch as tokens, each tokenized once: inputs, and the tokens that a span covers.

Promise: the results equal `GlipProcessor.tokens` and `GlipProcessor.phrase_tokens`, prompt by prompt.
"""

# B prompts, T tokens of the width
from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from teacher.models.glip import GlipProcessor

# Prompts are padded to a multiple of this, so that few widths occur.
_TEXT_MULTIPLE = 8


class PromptTokens:
    """The tokens of some prompts, padded to the longest one rounded up, cut at the processor's limit."""

    def __init__(self, processor: GlipProcessor, texts: Sequence[str]) -> None:
        processor.token_count("")  # disables padding and truncation in the tokenizer's backend
        # one by one: for a batch the backend starts threads, which slow down the other workers more than they help
        encoded = list(map(processor.tokenizer.backend_tokenizer.encode, texts))
        self._ids: list[list[int]] = [one.ids for one in encoded]
        self._offsets: list[list[tuple[int, int]]] = [one.offsets for one in encoded]
        longest = max(map(len, self._ids))
        self.width = min(-(-longest // _TEXT_MULTIPLE) * _TEXT_MULTIPLE, processor.max_tokens)
        self._pad = processor.tokenizer.pad_token_id

    def inputs(self) -> tuple[Tensor, Tensor]:
        """Return `input_ids` and `attention_mask`, both [B, T] int64."""
        width = self.width
        cut = [own if len(own) <= width else [*own[: width - 1], own[-1]] for own in self._ids]
        ids = np.array([own + [self._pad] * (width - len(own)) for own in cut], dtype=np.int64)
        lengths = np.array([len(own) for own in cut])
        mask = (np.arange(width) < lengths[:, None]).astype(np.int64)
        return torch.from_numpy(ids), torch.from_numpy(mask)

    def find_spans(self, prompt: int, spans: Sequence[tuple[int, int]]) -> list[list[int] | None]:
        """Return the positions of the tokens of each span [begin, end) of a prompt; None for a span past the limit.

        The positions are empty for a span of characters that the tokenizer deletes.
        """
        offsets = self._offsets[prompt][1:-1]  # without the two special tokens
        begins, ends = [begin for begin, _ in offsets], [end for _, end in offsets]
        last = self.width - 1  # the position of the closing special token
        positions: list[list[int] | None] = []
        for begin, end in spans:
            first, stop = bisect_right(ends, begin), bisect_left(begins, end)
            covered = [place + 1 for place in range(first, stop) if begins[place] < ends[place]]
            positions.append(covered if not covered or covered[-1] < last else None)
        return positions
