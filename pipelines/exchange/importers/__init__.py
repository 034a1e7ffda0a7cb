"""Formats of human labels, one file a format. A file that defines `ENTRY` is a format of `groundswell gold import`."""

from __future__ import annotations

from pipelines.exchange.importer import Importer
from schemas.registry import Registry

IMPORTERS = Registry(__name__, Importer, noun="gold format", group="groundswell.importers", setting="FORMAT")
