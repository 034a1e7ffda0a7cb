"""ODVG lines for NVIDIA TAO: phrases as text with the score behind them, image names without folders."""

from __future__ import annotations

from functools import partial

from pipelines.exchange.exporter import Exporter
from pipelines.exchange.odvg_lines import encode_odvg

ENTRY = Exporter(
    "ODVG (tao)",
    partial(encode_odvg, dialect="tao"),
    represents=frozenset(),
)
