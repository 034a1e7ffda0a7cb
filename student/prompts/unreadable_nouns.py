"""Nouns that the model's tokenizer has no word for: a prompt would ask for [UNK], whatever the noun is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from student.data.streams import Stream
from teacher.models.glip import GlipProcessor


def find_unreadable_nouns(nouns: Iterable[str], processor: GlipProcessor) -> list[str]:
    """Return the nouns without a token of their own: each of their tokens is unknown, or there is none."""
    processor.token_count("")  # disables padding and truncation in the tokenizer's backend
    encode, unknown = processor.tokenizer.backend_tokenizer.encode, processor.tokenizer.unk_token
    return [noun for noun in nouns if set(encode(noun, add_special_tokens=False).tokens) <= {unknown}]


def exclude_unreadable_nouns(
    streams: Sequence[Stream], processor: GlipProcessor
) -> tuple[list[Stream], list[str]]:
    """Return the streams without unreadable nouns among the drawn negatives, and these nouns in alphabetical order."""
    nouns = sorted({noun for stream in streams for noun in stream.root_counts})
    unreadable = find_unreadable_nouns(nouns, processor)
    if not unreadable:
        return list(streams), []
    left_out = set(unreadable)
    kept = [{n: c for n, c in stream.root_counts.items() if n not in left_out} for stream in streams]
    return [replace(stream, root_counts=own) for stream, own in zip(streams, kept, strict=True)], unreadable
