"""Probe nouns: decoys are drawn only from them, and training never uses them as negatives.

They are a fixed quarter of all nouns, by hash of the lemma, the same for every job, run and version. A student that
was trained to treat these nouns as absent would reject the probe instead of the mistake (docs/decoys.md).
"""

from __future__ import annotations

import hashlib

ONE_IN = 4


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
