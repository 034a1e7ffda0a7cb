"""Boxes drawn on the photographs: chosen samples, or a draw that the seed decides, to a folder with a contact sheet."""

from __future__ import annotations

import hashlib
import heapq
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from engine.settings import StorageSettings
from pipelines.labels.fates import kept_regions
from pipelines.labels.open_any import open_labels
from pipelines.labels.photo import read_photo
from pipelines.labels.picture import contact_sheet, draw_sample
from pipelines.labels.tables import Report, Table
from schemas.errors import NotFoundError
from schemas.progress import ProgressCallback

SHEET, PICTURES = "sheet.jpg", "[0-9][0-9][0-9]*-*.jpg"

Rows = Iterable[dict[str, Any]]


class InspectReport(Report):
    """Which pictures were drawn."""

    digest: str = Field(description="of the evidence, view or gold")
    pictures: dict[str, str] = Field(description="file of each sample, by `unit:index`")
    sheet: str = Field(description="all of them on one sheet")

    def tables(self) -> list[Table]:
        """The report as tables, in reading order."""
        rows = [*self.pictures.items(), ("all", self.sheet)]
        return [Table(f"drawn from {self.digest}", ("sample", "picture"), rows)]


def draw_samples(
    url: str,
    to: str | Path,
    *,
    n: int = 12,
    keys: Sequence[str] = (),
    seed: int = 0,
    with_region: bool = True,
    min_score: float = 0.0,
    roots: Mapping[str, str] | None = None,
    storage: StorageSettings | None = None,
    progress: ProgressCallback | None = None,
    overwrite: bool = False,
) -> InspectReport:
    """Draw the samples of the given keys, or else `n` that the seed draws, as JPEG files in the folder `to`.

    keys:        `KEY`, `SHARD/KEY` or `UNIT:INDEX`
    with_region: draw only from samples that have a kept region of `min_score` or more
    overwrite:   remove the pictures of an earlier call first, where it left a sheet
    Raises NotFoundError for an unknown key or without a sample to draw, and for photographs that are no longer there.
    """
    labels = open_labels(url, storage)
    rows = (_at_least(row, min_score) for row in labels.rows())
    chosen = by_keys(rows, keys) if keys else by_seed(rows, n, seed, with_region)
    if not chosen:
        raise NotFoundError(f"{url} holds no sample{' with a kept region' if with_region else ''} to draw")
    folder, pictures, files = Path(to), [], {}
    for place, row in enumerate(chosen):
        pictures.append(draw_sample(row, read_photo(row, roots, storage)))
        files[_name(row)] = str(folder / f"{place:03d}-{_safe(row['key'])}.jpg")
        if progress:
            progress("pictures", place + 1, len(chosen))
    sheet = folder / SHEET
    if overwrite and sheet.exists():
        for file in folder.glob(PICTURES):
            file.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    contact_sheet(pictures).save(sheet, quality=90)  # first: it marks the folder as one of pictures
    for picture, file in zip(pictures, files.values(), strict=True):
        picture.save(file, quality=92)
    return InspectReport(digest=labels.digest, pictures=files, sheet=str(sheet))


def by_seed(rows: Rows, n: int, seed: int, with_region: bool) -> list[dict[str, Any]]:
    """`n` rows in index order; which ones depends on the seed and on each row's name, not on the rows' order."""
    drawable = (row for row in rows if not with_region or kept_regions(row))
    drawn = heapq.nsmallest(
        n, drawable, key=lambda row: hashlib.sha256(f"{seed}/{_name(row)}".encode()).digest()
    )
    return sorted(drawn, key=lambda row: (row["unit"], row["index"]))


def by_keys(rows: Rows, keys: Sequence[str]) -> list[dict[str, Any]]:
    """The rows that the keys name, in the keys' order. Raises NotFoundError with every key that names none."""
    found: dict[str, list[dict[str, Any]]] = {key: [] for key in keys}
    for row in rows:
        for key in keys:
            if key in (row["key"], _name(row)) or f"/{row['shard']}/{row['key']}".endswith(f"/{key}"):
                found[key].append(row)
    if missing := [key for key, named in found.items() if not named]:
        raise NotFoundError(
            f"no sample is called {', '.join(missing)}: expected KEY, SHARD/KEY or UNIT:INDEX"
        )
    return [row for key in found for row in found[key]]


def _at_least(row: dict[str, Any], min_score: float) -> dict[str, Any]:
    return {**row, "regions": [region for region in row["regions"] if region["score"] >= min_score]}


def _name(row: dict[str, Any]) -> str:
    return f"{row['unit']}:{row['index']}"


def _safe(key: str) -> str:
    """A key as part of a file name: keys come from strangers."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", key)[:80]
