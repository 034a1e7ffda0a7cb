"""MDETR grounding JSON: COCO with captions and spans, and one category "object" for all annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.exchange.exporter import EncodedFile, ExportedRows, Exporter
from pipelines.exchange.exporters.coco import encode_json, make_coco

if TYPE_CHECKING:
    from pipelines.labels.open_any import Labels


def encode_mdetr(labels: Labels, rows: ExportedRows) -> EncodedFile:
    """Encode rows as a grounding file."""
    return encode_json(make_coco(rows, categories="object"), labels)


ENTRY = Exporter(
    "MDETR",
    encode_mdetr,
    ignore_mark="iscrowd",
)
