"""Pictures of samples, chosen by key or drawn by a seed, in a folder with a contact sheet."""

from __future__ import annotations

import hashlib
import heapq
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import Field

from engine.settings import StorageSettings
from pipelines.labels.fates import LabelRow, find_kept_regions
from pipelines.labels.open_any import open_labels
from pipelines.labels.photo import read_photo
from pipelines.labels.picture import draw_picture, make_contact_sheet
from pipelines.report_base import Report, Table
from schemas.errors import NotFoundError
from schemas.progress import ProgressCallback

SHEET, PICTURES = "sheet.jpg", "[0-9][0-9][0-9]*-*.jpg"

Rows = Iterable[LabelRow]


class InspectReport(Report):
    """The pictures that were drawn."""

    digest: str = Field(description="of the evidence, view or gold")
    pictures: dict[str, str] = Field(description="file of each sample, by `unit:index`")
    sheet: str = Field(description="all of them on one sheet")

    def tables(self) -> list[Table]:
        """Return the report as tables, in reading order."""
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
    """Draw the samples of the given keys, or else `n` samples that the seed draws, as JPEG files in the folder `to`.

    keys:        `KEY`, `SHARD/KEY` or `UNIT:INDEX`
    with_region: draw only from samples that have a kept region of `min_score` or more
    overwrite:   remove the pictures of an earlier call first, if it left a sheet
    Raises NotFoundError for an unknown key or without a sample to draw, and for missing images.
    """
    labels = open_labels(url, storage)
    rows = (_drop_weak_regions(row, min_score) for row in labels.rows())
    chosen = find_rows(rows, keys) if keys else draw_rows(rows, n, seed, with_region)
    if not chosen:
        raise NotFoundError(f"{url} has no sample{' with a kept region' if with_region else ''} to draw")
    folder, pictures, files = Path(to), [], {}
    for place, row in enumerate(chosen):
        pictures.append(draw_picture(row, read_photo(row, roots, storage)))
        files[_name_sample(row)] = str(folder / f"{place:03d}-{_make_file_name(row['key'])}.jpg")
        if progress:
            progress("pictures", place + 1, len(chosen))
    sheet = folder / SHEET
    if overwrite and sheet.exists():
        for earlier in folder.glob(PICTURES):
            earlier.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    make_contact_sheet(pictures).save(sheet, quality=90)  # first: it marks the folder as one of pictures
    for picture, file in zip(pictures, files.values(), strict=True):
        picture.save(file, quality=92)
    return InspectReport(digest=labels.digest, pictures=files, sheet=str(sheet))


def draw_rows(rows: Rows, n: int, seed: int, with_region: bool) -> list[LabelRow]:
    """Return `n` rows in index order. They depend on the seed and on each row's name, not on the order of the rows."""
    drawable = (row for row in rows if not with_region or find_kept_regions(row))
    drawn = heapq.nsmallest(
        n, drawable, key=lambda row: hashlib.sha256(f"{seed}/{_name_sample(row)}".encode()).digest()
    )
    return sorted(drawn, key=lambda row: (row["unit"], row["index"]))


def find_rows(rows: Rows, keys: Sequence[str]) -> list[LabelRow]:
    """Return the rows that the keys name, in the order of the keys.

    Raises NotFoundError with every key that names none.
    """
    found: dict[str, list[LabelRow]] = {key: [] for key in keys}
    for row in rows:
        for key in keys:
            if key in (row["key"], _name_sample(row)) or f"/{row['shard']}/{row['key']}".endswith(f"/{key}"):
                found[key].append(row)
    if missing := [key for key, named in found.items() if not named]:
        raise NotFoundError(
            f"no sample is called {', '.join(missing)}: expected KEY, SHARD/KEY or UNIT:INDEX"
        )
    return [row for key in found for row in found[key]]


def _drop_weak_regions(row: LabelRow, min_score: float) -> LabelRow:
    kept = row.copy()
    regions = [region for region in row["regions"] if region["score"] >= min_score]
    kept["regions"] = regions  # type: ignore[arg-type]  # of the kind that the row had
    return kept


def _name_sample(row: LabelRow) -> str:
    return f"{row['unit']}:{row['index']}"


def _make_file_name(key: str) -> str:
    """Return a key as part of a file name. Keys come from strangers."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", key)[:80]
