"""The pool of decoys: nouns with their frequency in captions, frozen when a job is planned.

The serialized form depends on the content alone, so its digest identifies the pool. An invalid pool (a noun that
would break a prompt, a count below one) cannot be constructed.

Decoys are drawn only from probe nouns: a fixed quarter of all nouns, by hash of the lemma, the same for every job, run
and version. Training never uses them as negatives. A student that was trained to treat these nouns as absent would
reject the probe instead of the mistake (docs/decoys.md).
"""

from __future__ import annotations

import hashlib
import re

from pydantic import Field, JsonValue, ValidationError, field_validator, model_validator

from schemas.digests import canonical_json, sha256_hex, shorten_digest
from schemas.errors import ConflictError
from schemas.records import Record

FORMAT_VERSION = "1.0"
ONE_IN = 4
"""One in this many nouns is a probe noun."""
MAX_NOUNS = 20_000
MAX_NOUN_CHARS = 48
MAX_COUNT = 2**53
# Letters, and blanks, hyphens and apostrophes between them: a full stop or comma would end a phrase of a prompt.
_NOUN = re.compile(r"[^\W\d_]+(?:[ '-][^\W\d_]+)*")


class DecoyPool(Record):
    """The count of each head noun in the captions that were read, and the nouns that may be decoys."""

    format_version: str = FORMAT_VERSION
    seed: int = Field(0, ge=0, description="of the draw and, with the pool's digest, of every choice")
    source: dict[str, JsonValue] = Field(default_factory=dict, description="where the counts come from")
    counts: dict[str, int] = Field(max_length=MAX_NOUNS, description="by head noun, in lower case")
    asked: tuple[str, ...] = Field(description="nouns that may be decoys, in order")

    @field_validator("counts")
    @classmethod
    def _check_counts(cls, counts: dict[str, int]) -> dict[str, int]:
        for noun, count in counts.items():
            if len(noun) > MAX_NOUN_CHARS or noun != noun.lower() or not _NOUN.fullmatch(noun):
                raise ValueError(
                    f"{noun[:60]!r} is not a noun that a prompt can ask for: expected up to {MAX_NOUN_CHARS} "
                    "lower-case letters with single blanks, hyphens or apostrophes between them"
                )
            if not 1 <= count <= MAX_COUNT:
                raise ValueError(f"{noun!r} has the count {count}, expected 1 to 2^53")
        return counts

    @model_validator(mode="after")
    def _check_asked(self) -> DecoyPool:
        if list(self.asked) != sorted(set(self.asked)) or not self.counts.keys() >= set(self.asked):
            raise ValueError("`asked` must be nouns of `counts`, each once, in order")
        trainable = [noun for noun in self.asked if not is_probe_noun(noun)]
        if trainable:
            raise ValueError(
                f"{trainable[0]!r} may be a training negative, so it cannot be a decoy (docs/decoys.md)"
            )
        return self

    def to_bytes(self) -> bytes:
        """Serialize the pool; equal pools give equal bytes."""
        return canonical_json(self.model_dump(mode="json")) + b"\n"

    def digest(self) -> str:
        """Return `sha256:<hex>` of the serialized pool."""
        return "sha256:" + sha256_hex(self.to_bytes())

    def bucket(self, noun: str) -> int:
        """Return the power of two that the noun's count has reached: 0 for a count of one and for unseen nouns."""
        return max(self.counts.get(noun, 1).bit_length() - 1, 0)


def pool_path(digest: str) -> str:
    """Return the path of a pool inside an output."""
    return f"decoys/{shorten_digest(digest)}.json"


def parse_pool(data: bytes, digest: str, where: str) -> DecoyPool:
    """Parse a serialized pool. Raises ConflictError if it does not have the given digest."""
    if "sha256:" + sha256_hex(data) != digest:
        raise ConflictError(
            f"{where} is not the pool of decoys with {digest}; restore it from a copy of the output"
        )
    try:
        return DecoyPool.model_validate_json(data)
    except ValidationError as error:
        raise ConflictError(f"{where} is not a pool of decoys: {error}") from error


def is_probe_noun(lemma: str) -> bool:
    """Return whether a head noun may be a decoy and so must not be a training negative; case is ignored."""
    word = " ".join(lemma.lower().split())
    return (
        hashlib.sha256(f"groundswell probe noun\n{word}".encode("utf-8", "replace")).digest()[0] % ONE_IN == 0
    )


def ends_in_probe_noun(name: str) -> bool:
    """Return whether a name or its head (the last word) may be a decoy: `hot dog` as a negative affects `dog` too."""
    words = name.split()
    return is_probe_noun(name) or (len(words) > 1 and is_probe_noun(words[-1]))
