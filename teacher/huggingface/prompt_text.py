"""Texts for models that read several phrases in one prompt, separated by full stops: "a red dog. two cats."

Such a model splits its text at `.` and `?`, looks only inside a part, and was trained on lower-case text that ends with
a full stop. Every change here keeps the text's length, so the spans of phrases stay valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict, cast

from teacher.prompts.packing import Budget, PackedPrompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NO_TOKEN = "PH_NO_TOKEN"
END = "."
_SEPARATORS = ".?"
WIDTHS = (32, 64, 128, 256)
"""Padded widths of a text, in tokens. The smallest that holds the text is used, whatever else is in the batch."""


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt as token ids (not padded), and for each phrase that has tokens its number and their positions."""

    input_ids: tuple[int, ...]
    phrases: tuple[int, ...]
    tokens: tuple[tuple[int, ...], ...]
    missed: tuple[int, ...] = ()
    """Phrases without a token."""


class _EncodedText(TypedDict):
    """What a tokenizer returns. Offsets are [begin, end) in characters, (0, 0) for special tokens."""

    input_ids: list[int]
    offset_mapping: list[tuple[int, int]]


class PromptTokenizer:
    """Turns packed prompts into tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, limit: int) -> None:
        """Keep a tokenizer that knows offsets. limit: most tokens of a text, special ones included."""
        self._tokenizer = tokenizer
        names = {name for text in tokenizer.all_special_tokens for name in (text, text.lower())}
        self._special = sorted(names - {""})
        self.budget = Budget(limit, self.count)
        self.pad_id = int(tokenizer.pad_token_id or 0)
        self.blank = tuple(self._encode(END)["input_ids"])
        """Tokens of the text of a blank row."""

    def count(self, text: str) -> int:
        """Return how many tokens a text has, with the special ones and the closing full stop."""
        return len(self._encode(self.clean(text))["input_ids"])

    def clean(self, text: str, spans: Sequence[tuple[int, int]] = ()) -> str:
        """Return the text in lower case with a full stop at its end.

        Special tokens of the tokenizer become spaces, in any case, and so do separators inside a span.
        """
        text = "".join(map(_lower, text))
        for special in self._special:
            text = text.replace(special, " " * len(special))
        characters = list(text)
        for begin, end in spans:
            for place in range(begin, end):
                if characters[place] in _SEPARATORS:
                    characters[place] = " "
        cleaned = "".join(characters)
        return cleaned if cleaned.rstrip().endswith(END) else cleaned + END

    def tokenize(self, prompt: PackedPrompt) -> EncodedPrompt:
        """Return the tokens of a prompt, and which of them each phrase covers."""
        text = self.clean(prompt.text, [(span.begin, span.end) for span in prompt.spans])
        encoded = self._encode(text)
        ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
        covered = {
            span.phrase: tuple(
                place
                for place, (start, stop) in enumerate(offsets)
                if start < min(span.end, stop) and stop > span.begin
            )
            for span in prompt.spans
        }
        found = {phrase: own for phrase, own in covered.items() if own}
        missed = tuple(phrase for phrase, own in covered.items() if not own)
        return EncodedPrompt(tuple(ids), tuple(found), tuple(found.values()), missed)

    def _encode(self, text: str) -> _EncodedText:
        encoded = self._tokenizer(text, truncation=False, verbose=False, return_offsets_mapping=True)
        return cast("_EncodedText", encoded)


def choose_width(tokens: int, limit: int) -> int:
    """Return the padded width of a text: one of WIDTHS, at most `limit`."""
    return min(next((width for width in WIDTHS if width >= tokens), limit), limit)


def _lower(character: str) -> str:
    lower = character.lower()
    return lower if len(lower) == 1 else character
