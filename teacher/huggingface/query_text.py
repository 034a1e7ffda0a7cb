"""Texts for models that read each phrase alone, with a text encoder like CLIP's: begin, own tokens, end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.errors import ConfigError
from teacher.huggingface.prompt_text import NO_TOKEN
from teacher.prompts.packing import TOO_LONG

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TokenIds = tuple[int, ...]
PLACE = "{}"
"""Stands for the phrase in a template."""


def check_template(template: str) -> str:
    """Return the template. Raises ValueError if it does not contain the place of the phrase exactly once."""
    found = template.count(PLACE)
    if found != 1:
        raise ValueError(
            f"{template!r} has {PLACE} {found} times, expected once; write it where the phrase belongs, as in "
            "'a photo of a {}'"
        )
    return template


class QueryTokenizer:
    """Turns phrases into tokens, one text per phrase."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, limit: int, template: str = PLACE) -> None:
        """Keep a tokenizer.

        limit:  most tokens of a text, begin and end included
        raises: ConfigError for a template that leaves no token for a phrase
        """
        self._tokenizer, self._template, self.limit = tokenizer, template, limit
        self._begin, self._end = int(tokenizer.bos_token_id), int(tokenizer.eos_token_id)
        self.pad_id = int(tokenizer.pad_token_id or 0)
        length = len(self._encode(self._fill("")))
        if length + 1 > limit:
            raise ConfigError(
                f"teacher.template {template!r} alone has {length} of the model's {limit} tokens, which leaves none "
                "for a phrase; shorten it"
            )

    def tokenize(self, phrase: str) -> tuple[TokenIds, str | None]:
        """Return the tokens of a phrase in its template, never cut, and the code why they cannot be asked for."""
        ids = self._encode(self._fill(phrase))
        if not self._find_own_tokens(phrase):
            return ids, NO_TOKEN
        return ids, TOO_LONG if len(ids) > self.limit else None

    def _fill(self, phrase: str) -> str:
        # not `format`: a phrase may contain braces
        return self._template.replace(PLACE, phrase)

    def _encode(self, text: str) -> TokenIds:
        return (self._begin, *self._find_own_tokens(text), self._end)

    def _find_own_tokens(self, text: str) -> TokenIds:
        """Return the tokens of a text without begin and end.

        A text can contain the words that a tokenizer reads as begin or end, in any case. They are left out, because
        the model takes its features from the first end.
        """
        found = self._tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        return tuple(token for token in found if token not in (self._begin, self._end))
