"""Texts as token ids for models that read each phrase as a text of its own, such as those with a CLIP text encoder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from teacher.huggingface.entry import TOKENIZER_OPTIONS

TextIds = tuple[int, ...]
"""Token ids of a text: begin, words, end. Not padded."""
IdArray = npt.NDArray[np.int64]
_CACHED_TEXTS = 4096


class TextTokenizer:
    """Turns texts into token ids. A special token that is spelled out in a text is read as ordinary characters."""

    def __init__(self, folder: Path) -> None:
        """Load the tokenizer of a model directory."""
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder, **TOKENIZER_OPTIONS)
        self._tokenizer = tokenizer
        self._begin, self._end = int(tokenizer.bos_token_id), int(tokenizer.eos_token_id)
        self._marks = {self._begin, self._end, tokenizer.unk_token_id}
        self._pad = self._end if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)
        self.blank: TextIds = (self._begin, self._end)
        """Ids of a text without words, for blank rows."""
        self.encode = lru_cache(_CACHED_TEXTS)(self._encode)
        """Return the ids of a text, never cut; () if it has no token of its own."""

    def _encode(self, text: str) -> TextIds:
        ids = self._tokenizer(
            text, add_special_tokens=False, split_special_tokens=True, truncation=False, verbose=False
        )["input_ids"]
        words = [number for number in ids if number not in self._marks]
        return (self._begin, *words, self._end) if words else ()

    def pad(self, texts: Sequence[TextIds], width: int) -> tuple[IdArray, IdArray]:
        """Return ids [N, width] and mask [N, width], one on the tokens of each text. No text may be longer."""
        ids = np.full((len(texts), width), self._pad, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        return ids, mask
