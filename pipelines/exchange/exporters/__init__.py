"""Export formats, one file a format. A file that defines `ENTRY` is a format of `groundswell export`."""

from __future__ import annotations

from pipelines.exchange.exporter import Exporter
from schemas.registry import Registry

EXPORTERS = Registry(
    __name__, Exporter, noun="export format", group="groundswell.exporters", setting="--format"
)
