"""Small jobs with decoys: captions whose nouns are in a pool, and a pool in a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipelines.label.job import JobConfig
from tests.engine.worlds import job_of

ANIMALS = ("cat", "dog", "bee", "frog", "whale", "turtle")
THINGS = ("kite", "drum", "tree", "boat", "lamp", "bed")
"""Some animals and some things may be decoys, see `schemas.decoys`."""


def animal_captions(count: int) -> list[str]:
    """Return captions with an animal and a thing each."""
    return [f"a {ANIMALS[n % 6]} by the {THINGS[n // 6 % 6]} number {n}" for n in range(count)]


def pool_file(folder: Path, nouns: Iterable[str] = (*ANIMALS, *THINGS), name: str = "pool.txt") -> Path:
    """Write a list of nouns with counts."""
    path = folder / name
    path.write_text("# nouns\n" + "".join(f"{noun}\t{2**n}\n" for n, noun in enumerate(nouns)))
    return path


def decoy_job(folder: Path, urls: Iterable[str | Path], share: float = 1.0, **changes: Any) -> JobConfig:
    """Return a job of the small teacher that asks for decoys. `decoys={...}` changes their settings."""
    decoys = {"share": share, "per_image": 2, **changes.pop("decoys", {})}
    job = job_of(folder, urls, **changes).model_dump(mode="json") | {"decoys": decoys}
    return JobConfig.model_validate(job)
