"""Make a pool of decoys, from captions or from a user's list of nouns.

Equal captions in any order, or an equal list, give equal bytes. A line of a list that is not a noun with an optional
count is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pydantic import JsonValue, ValidationError

from schemas.decoys import MAX_NOUNS, DecoyPool, is_probe_noun
from schemas.errors import ConfigError
from schemas.labeler import FoundPhrases
from teacher.nouns.names import list_names
from teacher.nouns.table import load_nouns

MAX_FILE_BYTES = 4 * 2**20
MAX_DRAWN = 10_000


def pool_from_captions(
    found: Iterable[FoundPhrases], seed: int, source: Mapping[str, JsonValue]
) -> DecoyPool:
    """Return a pool of the most frequent MAX_DRAWN head nouns of phrases that would be asked for.

    A decoy must be the name of a thing in the bundled table, since the relations of others are unknown.
    """
    counts = Counter(
        phrase.root.lower()
        for one in found
        for phrase in one.phrases
        if phrase.groundable and phrase.kind != "expression"  # its base phrase counts the head
    )
    known = [noun for noun in counts if load_nouns().has(noun)]
    most = sorted(known, key=lambda noun: (-counts[noun], noun))[:MAX_DRAWN]
    asked = sorted(noun for noun in most if noun in load_nouns().may_be_asked and is_probe_noun(noun))
    kept = {noun: counts[noun] for noun in sorted(most)}
    return DecoyPool(seed=seed, source=dict(source), counts=kept, asked=tuple(asked))


def pool_from_file(data: bytes, seed: int, where: str) -> DecoyPool:
    """Read a pool as an output stores it, or a text with `noun` or `noun TAB count` on each line.

    Nouns of a text that training may use as absent, themselves or by their head's lemma, are counted but not asked
    for. Raises ConfigError.
    """
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"decoys.pool: {where} has more than {MAX_FILE_BYTES} bytes; give a shorter list")
    try:
        if data.lstrip()[:1] == b"{":
            pool = DecoyPool.model_validate_json(data)
        else:
            counts = _read_counts(data, where)
            asked = tuple(sorted(noun for noun in counts if all(map(is_probe_noun, list_names(noun)))))
            pool = DecoyPool(
                seed=seed, source={"kind": "file"}, counts=dict(sorted(counts.items())), asked=asked
            )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the text"
        raise ConfigError(f"decoys.pool: {where}: {field}: {first['msg']}") from None
    return pool


def _read_counts(data: bytes, where: str) -> dict[str, int]:
    try:
        lines = data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"decoys.pool: {where} is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None
    counts: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        noun, count = _parse_line(line, f"{where}:{number}")
        if noun in counts:
            raise ConfigError(f"decoys.pool: {where}:{number}: {noun[:60]!r} occurs twice; remove one line")
        counts[noun] = count
        if len(counts) > MAX_NOUNS:
            raise ConfigError(f"decoys.pool: {where} has more than {MAX_NOUNS} nouns; give a shorter list")
    return counts


def _parse_line(line: str, place: str) -> tuple[str, int]:
    fields: Sequence[str] = line.strip().split("\t")
    digits = fields[1].strip() if len(fields) == 2 else "1"
    if len(fields) > 2 or not digits.isascii() or not digits.isdigit() or len(digits) > 16:
        raise ConfigError(
            f"decoys.pool: {place}: {line[:60]!r}; expected a noun, or a noun, a tab and a count"
        )
    return fields[0].strip().lower(), int(digits)
