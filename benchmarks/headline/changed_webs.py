"""The web with other captions on the same images: shuffled, without colours, or one list of nouns for all."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.demo.world.lexicon import COLOURS, NOUNS, choose_article

Change = Callable[[Sequence[str], np.random.Generator], list[str]]


def recaption(source: Path, target: Path, change: Change, seed: int) -> int:
    """Write the shards of `source` with changed captions into `target`; returns how many samples there are."""
    target.mkdir(parents=True)
    tars = sorted(source.glob("*.tar"))
    tables = [pq.read_table(tar.with_suffix(".parquet")) for tar in tars]
    own = [caption for table in tables for caption in table["caption"].to_pylist()]
    changed = change(own, np.random.default_rng([seed, len(own)]))
    done = 0
    for tar, table in zip(tars, tables, strict=True):
        captions = changed[done : done + len(table)]
        done += len(table)
        _rewrite(tar, target / tar.name, dict(zip(table["key"].to_pylist(), captions, strict=True)))
        column = table.column_names.index("caption")
        pq.write_table(
            table.set_column(column, "caption", pa.array(captions)), target / f"{tar.stem}.parquet"
        )
    return done


def _rewrite(source: Path, target: Path, captions: dict[str, str]) -> None:
    with tarfile.open(source) as old, tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as new:
        for member in old:
            file = old.extractfile(member)
            assert file is not None, "the world writes files alone"
            key, suffix = member.name.split(".", 1)
            data = _replace_caption(file.read(), suffix, captions[key])
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))


def _replace_caption(data: bytes, suffix: str, caption: str) -> bytes:
    if suffix == "txt":
        return caption.encode()
    if suffix == "json":
        return json.dumps({**json.loads(data), "caption": caption}, indent=4).encode()
    return data


def shuffled(captions: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Every caption on another image than its own: one cycle through all (Sattolo's shuffle)."""
    order = list(range(len(captions)))
    for last in range(len(order) - 1, 0, -1):
        other = int(rng.integers(last))
        order[last], order[other] = order[other], order[last]
    return [captions[place] for place in order]


def colourless(captions: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Captions without their colour words; articles follow the word that is then next."""
    return [_remove_words(caption, set(COLOURS)) for caption in captions]


def _remove_words(caption: str, gone: set[str]) -> str:
    words = [word for word in caption.split(" ") if word not in gone]
    for place, word in enumerate(words[:-1]):
        if word in ("a", "an") and words[place + 1][0].isalpha():
            words[place] = choose_article(words[place + 1].rstrip(","))
    return " ".join(words)


def catalogue(captions: Sequence[str], rng: np.random.Generator) -> list[str]:
    """One caption for all: every noun of the world. The images then say nothing but what the teacher sees."""
    names = [f"{choose_article(noun)} {noun}" for noun in NOUNS]
    return [", ".join(names[:-1]) + f" and {names[-1]}"] * len(captions)


CAPTIONS: dict[str, Change] = {"shuffled": shuffled, "colourless": colourless, "catalogue": catalogue}
