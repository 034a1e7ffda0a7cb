"""A batch's prompts as tokens, each read once: inputs, and which tokens a span covers.

Its promise: the numbers are those of `GlipProcessor.tokens` and `GlipProcessor.phrase_tokens`, prompt by prompt.
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
        processor.token_count("")  # sets the tokenizer's core neither to pad nor to cut
        # one by one: for a batch the core starts threads, which take more from the other workers than they give here
        encoded = list(map(processor.tokenizer.backend_tokenizer.encode, texts))
        self._ids: list[list[int]] = [one.ids for one in encoded]
        self._offsets: list[list[tuple[int, int]]] = [one.offsets for one in encoded]
        longest = max(map(len, self._ids))
        self.width = min(-(-longest // _TEXT_MULTIPLE) * _TEXT_MULTIPLE, processor.max_tokens)
        self._pad = processor.tokenizer.pad_token_id

    def inputs(self) -> tuple[Tensor, Tensor]:
        """`input_ids` and `attention_mask`, both [B, T] int64."""
        width = self.width
        kept = [own if len(own) <= width else [*own[: width - 1], own[-1]] for own in self._ids]
        ids = np.array([own + [self._pad] * (width - len(own)) for own in kept], dtype=np.int64)
        lengths = np.array([len(own) for own in kept])
        mask = (np.arange(width) < lengths[:, None]).astype(np.int64)
        return torch.from_numpy(ids), torch.from_numpy(mask)

    def spans(self, prompt: int, spans: Sequence[tuple[int, int]]) -> list[list[int] | None]:
        """Per span [begin, end) of a prompt the positions of its tokens; None for one that reaches past the limit.

        Empty for a span of characters that the tokenizer deletes.
        """
        offsets = self._offsets[prompt][1:-1]  # the two special tokens lie nowhere
        begins, ends = [begin for begin, _ in offsets], [end for _, end in offsets]
        last = self.width - 1  # the place of the closing special token
        found: list[list[int] | None] = []
        for begin, end in spans:
            first, stop = bisect_right(ends, begin), bisect_left(begins, end)
            covered = [place + 1 for place in range(first, stop) if begins[place] < ends[place]]
            found.append(covered if not covered or covered[-1] < last else None)
        return found
