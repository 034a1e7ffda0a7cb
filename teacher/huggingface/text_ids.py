"""Texts as token ids for models that read each phrase as a text of its own, with a text encoder like CLIP's.

A text is begin, words, end. It is never cut, and no word of it acts as a special token.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from schemas.errors import ConfigError
from teacher.huggingface.entry import TOKENIZER_OPTIONS
from teacher.huggingface.prompt_text import NO_TOKEN
from teacher.prompts.packing import TOO_LONG

TextIds = tuple[int, ...]
"""Token ids of a text: begin, words, end. Not padded."""
IdArray = npt.NDArray[np.int64]
PLACE = "{}"
"""Stands for the phrase in a template."""
_CACHED_TEXTS = 4096


def check_template(template: str) -> str:
    """Return the template. Raises ValueError if it does not contain the place of the phrase exactly once."""
    found = template.count(PLACE)
    if found != 1:
        raise ValueError(
            f"{template!r} has {PLACE} {found} times, expected once; write it where the phrase belongs, as in "
            "'a photo of a {}'"
        )
    return template


class TextTokenizer:
    """Turns phrases into token ids, one text per phrase."""

    def __init__(
        self,
        folder: Path,
        limit: int,
        *,
        template: str = PLACE,
        special_words: Literal["spell", "drop"] = "spell",
    ) -> None:
        """Load the tokenizer of a model directory.

        limit:         most tokens of a text, begin and end included
        special_words: what becomes of a special token that is spelled out in a text. `spell` reads it as ordinary
                       characters, `drop` leaves it out
        raises:        ConfigError for a template that leaves no token for a phrase
        """
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder, **TOKENIZER_OPTIONS)
        self._tokenizer, self._template, self.limit = tokenizer, template, limit
        self._spells = special_words == "spell"
        self._begin, self._end = int(tokenizer.bos_token_id), int(tokenizer.eos_token_id)
        self._marks = {self._begin, self._end, tokenizer.unk_token_id}
        self._pad = self._end if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)
        self.blank: TextIds = (self._begin, self._end)
        """Ids of a text without words, for blank rows."""
        self.encode = lru_cache(_CACHED_TEXTS)(self._encode)
        """Return the ids of a text, without the template; () if it has no token of its own."""
        length = len(self.encode(self._fill("")) or self.blank)
        if length + 1 > limit:
            raise ConfigError(
                f"teacher.template {template!r} alone has {length} of the model's {limit} tokens, which leaves none "
                "for a phrase; shorten it"
            )

    def tokenize(self, phrase: str) -> tuple[TextIds, str | None]:
        """Return the ids of a phrase in its template, and the code why they cannot be asked for."""
        if not self.encode(phrase):
            return (), NO_TOKEN
        ids = self.encode(self._fill(phrase))
        return ids, TOO_LONG if len(ids) > self.limit else None

    def pad(self, texts: Sequence[TextIds], width: int) -> tuple[IdArray, IdArray]:
        """Return ids [N, width] and mask [N, width], one on the tokens of each text. No text may be longer."""
        ids = np.full((len(texts), width), self._pad, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        return ids, mask

    def _fill(self, phrase: str) -> str:
        # not `format`: a phrase may contain braces
        return self._template.replace(PLACE, phrase)

    def _encode(self, text: str) -> TextIds:
        # the model takes a text's features from the first end, so none may come from the text itself
        ids = self._tokenizer(
            text,
            add_special_tokens=False,
            split_special_tokens=self._spells,
            truncation=False,
            verbose=False,
        )["input_ids"]
        words = [number for number in ids if number not in self._marks]
        return (self._begin, *words, self._end) if words else ()
