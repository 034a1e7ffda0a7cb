"""Making a pool of decoys: from captions, or from a list of nouns that a user gives.

Promise: equal captions in any order, or an equal list, give equal bytes; what a list holds besides nouns and counts is
refused by line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from schemas.decoys import MAX_NOUNS, DecoyPool
from schemas.errors import ConfigError
from schemas.labeler import FoundPhrases
from schemas.probe_nouns import is_probe_noun
from teacher.decoys.names import names_of
from teacher.decoys.nouns import bundled

MAX_FILE_BYTES = 4 * 2**20
MAX_DRAWN = 10_000


def pool_from_captions(found: Iterable[FoundPhrases], seed: int, source: Mapping[str, Any]) -> DecoyPool:
    """Head nouns of phrases that would be asked for, the most frequent MAX_DRAWN of them.

    A decoy must be known to the bundled table as the name of a thing, or its relations could not be told.
    """
    counts = Counter(
        phrase.root.lower()
        for one in found
        for phrase in one.phrases
        if phrase.groundable and phrase.kind != "expression"  # its head was counted with its base phrase
    )
    known = [noun for noun in counts if bundled().knows(noun)]
    most = sorted(known, key=lambda noun: (-counts[noun], noun))[:MAX_DRAWN]
    asked = sorted(noun for noun in most if noun in bundled().may_be_asked and is_probe_noun(noun))
    kept = {noun: counts[noun] for noun in sorted(most)}
    return DecoyPool(seed=seed, source=dict(source), counts=kept, asked=tuple(asked))


def pool_from_file(data: bytes, seed: int, where: str) -> DecoyPool:
    """A pool in its written form, as an output keeps it, or text with `noun` or `noun TAB count` a line.

    Of a text, nouns that training may teach as absent, by themselves or by their head's lemma, are counted and not
    asked for. Raises ConfigError.
    """
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"decoys.pool: {where} has more than {MAX_FILE_BYTES} bytes")
    try:
        if data.lstrip()[:1] == b"{":
            pool = DecoyPool.model_validate_json(data)
        else:
            counts = _counts(data, where)
            asked = tuple(sorted(noun for noun in counts if all(map(is_probe_noun, names_of(noun)))))
            pool = DecoyPool(
                seed=seed, source={"kind": "file"}, counts=dict(sorted(counts.items())), asked=asked
            )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the text"
        raise ConfigError(f"decoys.pool: {where}: {field}: {first['msg']}") from None
    return pool


def _counts(data: bytes, where: str) -> dict[str, int]:
    try:
        lines = data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"decoys.pool: {where} is not UTF-8 text (byte {error.start})") from None
    counts: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        noun, count = _parsed(line, f"{where}:{number}")
        if noun in counts:
            raise ConfigError(f"decoys.pool: {where}:{number}: {noun[:60]!r} stands there twice")
        counts[noun] = count
        if len(counts) > MAX_NOUNS:
            raise ConfigError(f"decoys.pool: {where} has more than {MAX_NOUNS} nouns")
    return counts


def _parsed(line: str, place: str) -> tuple[str, int]:
    fields: Sequence[str] = line.strip().split("\t")
    digits = fields[1].strip() if len(fields) == 2 else "1"
    if len(fields) > 2 or not digits.isascii() or not digits.isdigit() or len(digits) > 16:
        raise ConfigError(
            f"decoys.pool: {place}: {line[:60]!r}; expected a noun, or a noun, a tab and a count"
        )
    return fields[0].strip().lower(), int(digits)
