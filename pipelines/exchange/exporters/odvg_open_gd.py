"""ODVG lines for Open-GroundingDino: phrases as text alone, no scores, no image without a region."""

from __future__ import annotations

from functools import partial

from pipelines.exchange.exporter import Exporter
from pipelines.exchange.odvg_lines import encode_odvg

ENTRY = Exporter(
    "ODVG (open_gd)",
    partial(encode_odvg, dialect="open_gd"),
    represents=frozenset(),
)
