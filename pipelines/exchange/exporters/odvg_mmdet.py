"""ODVG lines for MMDetection: phrases with their place in the caption, without scores."""

from __future__ import annotations

from functools import partial

from pipelines.exchange.exporter import Detail, Exporter
from pipelines.exchange.odvg_lines import encode_odvg

ENTRY = Exporter(
    "ODVG (mmdet)",
    partial(encode_odvg, dialect="mmdet"),
    represents=frozenset({Detail.PLACES, Detail.IMAGES_WITHOUT_REGION}),
)
