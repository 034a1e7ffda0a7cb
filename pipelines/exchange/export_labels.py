"""`export`: labels as a file of another format, with an account of what the format cannot represent."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from engine.settings import StorageSettings
from engine.storage.filesystems import absolute_url
from engine.storage.store import open_store
from pipelines.exchange.exporter import MEANINGS, Detail, EncodedFile, ExportedRows, Exporter
from pipelines.exchange.exporters import EXPORTERS
from pipelines.labels.open_any import open_labels
from pipelines.report_base import Report, Table


class ExportReport(Report):
    """What a file holds, and how much of the labels its format cannot represent."""

    images: int = Field(ge=0)
    images_without_region: int = Field(ge=0, description="images without an annotation that is a label")
    annotations: int = Field(ge=0, description="all that are written, those to ignore too")
    categories: int = Field(ge=0)
    cannot_hold: dict[str, int] = Field(description="by kind; meanings in pipelines/exchange/exporter.py")
    ignore: int = Field(0, ge=0, description="annotations that are not labels and are to be ignored")
    title: str = Field(exclude=True, description="the format's name")
    ignore_mark: str = Field(exclude=True, description="how the format marks an annotation to ignore")

    def tables(self) -> list[Table]:
        """Return the report as tables, in reading order."""
        contents = [
            ("images", f"{self.images}"),
            ("images without a region", f"{self.images_without_region}"),
            ("annotations", f"{self.annotations}"),
            (f"of these to ignore ({self.ignore_mark})", f"{self.ignore}"),
            ("categories", f"{self.categories}"),
        ]
        lost = [(name, str(count), MEANINGS[Detail(name)]) for name, count in self.cannot_hold.items()]
        return [
            Table(self.title, ("what", "number"), contents),
            Table(f"what {self.title} cannot hold", ("what", "number", "meaning"), lost),
        ]


def export_labels(
    url: str, format: str, to: str | Path, *, storage: StorageSettings | None = None
) -> ExportReport:
    """Write the labels (evidence, view or gold) at `url` as one file.

    format: a name in EXPORTERS, or `module:attribute` of an exporter
    Raises ConfigError for an unknown format, NotFoundError if there are no labels.
    """
    exporter = EXPORTERS.load(format)
    labels = open_labels(url, storage)
    rows = ExportedRows(labels.rows(), exporter.represents, sum(1 for _ in labels.rejections()))
    file = exporter.encode(labels, rows)
    folder, _, name = absolute_url(str(to)).rpartition("/")
    open_store(folder or "/", storage).put(name, file.content)
    return make_report(exporter, rows, file)


def make_report(exporter: Exporter, rows: ExportedRows, file: EncodedFile) -> ExportReport:
    """Return the report of rows that were encoded."""
    return ExportReport(
        title=exporter.title,
        ignore_mark=exporter.ignore_mark,
        images=rows.images,
        images_without_region=rows.images_without_region,
        annotations=rows.annotations,
        categories=file.categories,
        ignore=rows.ignore,
        cannot_hold=dict(sorted(rows.lost.items())),
    )
