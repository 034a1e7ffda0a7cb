"""ODVG lines: one grounding line per image, in the dialect of the program that reads them.

| dialect | image | phrase |
|---|---|---|
| mmdet | `filename` | text and `tokens_positive` |
| open_gd | `filename` | text |
| tao | `file_name`, the last part alone | text and the score behind it: `a man (0.52)` |
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

import numpy as np

from pipelines.exchange.exporter import EncodedFile, ExportedRows
from pipelines.exchange.image_names import name_image, shortest_suffixes
from schemas.ledger import bare_url

if TYPE_CHECKING:
    from pipelines.labels.fates import LabelRow
    from pipelines.labels.open_any import Labels
    from schemas.rows import PhraseRow, RegionRow

OdvgDialect = Literal["mmdet", "open_gd", "tao"]


def encode_odvg(labels: Labels, rows: ExportedRows, dialect: OdvgDialect) -> EncodedFile:
    """Encode rows as lines of a dialect."""
    suffixes = shortest_suffixes({bare_url(row["shard"]) for row in labels.rows()})
    lines = (json.dumps(make_line(row, suffixes, dialect), ensure_ascii=False) for row in rows)
    return EncodedFile("".join(f"{line}\n" for line in lines).encode("utf-8"), categories=0)


def make_line(row: LabelRow, suffixes: dict[str, str], dialect: OdvgDialect) -> dict[str, object]:
    """Return the line of a row. suffixes: what names each shard."""
    name = name_image(row, suffixes)
    image = {"file_name": PurePosixPath(name).name} if dialect == "tao" else {"filename": name}
    regions = [_make_region(region, row["phrases"][region["phrase"]], dialect) for region in row["regions"]]
    return {
        **image,
        "height": row["height"],
        "width": row["width"],
        "grounding": {"caption": row["caption"], "regions": regions},
    }


def _make_region(region: RegionRow, phrase: PhraseRow, dialect: OdvgDialect) -> dict[str, object]:
    box = [_shorten(side) for side in (region["x0"], region["y0"], region["x1"], region["y1"])]
    if dialect == "tao":
        return {"bbox": box, "phrase": f"{phrase['text']} ({region['score']:.2f})"}
    place = {"tokens_positive": [[phrase["begin"], phrase["end"]]]} if dialect == "mmdet" else {}
    return {"bbox": box, "phrase": phrase["text"], **place}


def _shorten(value: float) -> float:
    """Return the shortest decimal that is the same float32."""
    return float(str(np.float32(value)))
