"""Choose the decoys of an image: none for most images, a few unrelated nouns of similar frequency for a seeded share.

The choice depends on the pool's digest, the image's sha256, the caption and its phrases alone. So it is the same in
every order, on every worker and in every run.
"""

from __future__ import annotations

import hashlib

from schemas.decoys import DecoyPool, parse_pool
from schemas.digests import digest_of
from schemas.records import Phrase, Sample
from teacher.decoys.relations import Relations
from teacher.nouns.names import find_caption_nouns, list_names
from teacher.nouns.table import load_nouns, nouns_digest
from teacher.phrases.tagging import lexicon
from teacher.settings import DecoySettings

METHOD_VERSION = 2
"""Raise it if a change of code changes decoys or how they are asked for. It is part of the digest."""


class FrozenPoolChooser:
    """`schemas.labeler.DecoyChooser` over a frozen pool."""

    def __init__(self, settings: DecoySettings, pool: DecoyPool) -> None:
        self.digest = decoys_digest(settings, pool.digest())
        self._share, self._per_image = settings.share, settings.per_image
        self._pool, self._pool_digest = pool, pool.digest()
        self._buckets: dict[int, list[str]] = {}
        for noun in pool.asked:
            self._buckets.setdefault(pool.bucket(noun), []).append(noun)

    def choose(self, sample: Sample) -> tuple[Phrase, ...]:
        """Return at most `per_image` decoys, none for an image outside the share or without a phrase to ask for."""
        heads = list(dict.fromkeys(phrase.root.lower() for phrase in sample.phrases if phrase.groundable))
        if not heads or not self._is_in_share(sample.image_sha256):
            return ()
        ruled_out = Relations(find_caption_nouns(sample.caption, heads), load_nouns())
        chosen: list[str] = []
        for number in range(self._per_image):
            bucket = self._pool.bucket(heads[number % len(heads)])
            noun = self._find_first_fit(
                bucket, self._hash(f"{sample.image_sha256}\n{number}"), ruled_out, chosen
            )
            if noun is not None:
                chosen.append(noun)
        return tuple(Phrase(text=noun, root=noun, kind="decoy") for noun in chosen)

    def _is_in_share(self, image_sha256: str) -> bool:
        return self._hash(f"{image_sha256}\nshare") < self._share * 2**64

    def _hash(self, text: str) -> int:
        """Return 64 bits of a hash of the pool's digest and the text."""
        return int.from_bytes(hashlib.sha256(f"{self._pool_digest}\n{text}".encode()).digest()[:8])

    def _find_first_fit(self, bucket: int, start: int, ruled_out: Relations, taken: list[str]) -> str | None:
        """Return the first fitting noun from a hashed position on, in the bucket or the nearest one (rarer first)."""
        for near in sorted(self._buckets, key=lambda other: (abs(other - bucket), other)):
            members = self._buckets[near]
            for step in range(len(members)):
                noun = members[(start + step) % len(members)]
                if noun not in taken and not any(map(ruled_out.rule_out, list_names(noun))):
                    return noun
        return None


def decoys_digest(settings: DecoySettings, pool_digest: str) -> str:
    """Return a digest of the pool, share and number, tables and rules. Another digest means other decoys."""
    return digest_of(
        {
            "method": METHOD_VERSION,
            "pool": pool_digest,
            "share": settings.share,
            "per_image": settings.per_image,
            "nouns": nouns_digest(),
            "lexicon": lexicon.lexicon_digest(),
        }
    )


def load_chooser(settings: DecoySettings, pool: str, pool_digest: str) -> FrozenPoolChooser:
    """Return the chooser of a pool given as text. Raises ConflictError if the text has another digest."""
    return FrozenPoolChooser(settings, parse_pool(pool.encode(), pool_digest, "the pool of decoys"))
