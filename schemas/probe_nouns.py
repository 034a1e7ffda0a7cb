"""Which nouns are kept for probing: decoys are drawn from them alone, and training does not teach them as absent.

Promise: one fixed quarter of all nouns, by hash of the lemma, the same for every job, run and version. A student that
was taught that these nouns are absent would reject the probe and not the mistake (docs/decoys.md).
"""

from __future__ import annotations

import hashlib

ONE_IN = 4


def is_probe_noun(lemma: str) -> bool:
    """Whether a head noun may be a decoy, and so must not be drawn as a training negative; case does not matter."""
    word = " ".join(lemma.lower().split())
    return (
        hashlib.sha256(f"groundswell probe noun\n{word}".encode("utf-8", "replace")).digest()[0] % ONE_IN == 0
    )


def ends_in_probe_noun(name: str) -> bool:
    """Whether a name or its head, the last word, may be a decoy: `hot dog` would teach `dog` as absent, too."""
    words = name.split()
    return is_probe_noun(name) or (len(words) > 1 and is_probe_noun(words[-1]))
