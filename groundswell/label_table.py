"""Labels on disk as typed rows, Arrow tables, a pandas frame or a `datasets.Dataset`.

Every file is checked against its digest when it is read, so rows are those that were written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

import pyarrow as pa

from engine import views
from engine.settings import StorageSettings
from pipelines.labels import evidence
from schemas.arrow import EVIDENCE, VIEW
from schemas.errors import RuntimeEnvironmentError
from schemas.rows import EvidenceRow, ViewRow, rows_of

if TYPE_CHECKING:
    import pandas as pd
    from datasets import Dataset

Row = TypeVar("Row", EvidenceRow, ViewRow)


@dataclass(frozen=True)
class LabelTable(Generic[Row]):
    """Rows of labels. Iterate over it for typed rows; `len` is their number."""

    url: str
    kind: Literal["evidence", "view", "gold"]
    digest: str
    """Names the content: equal rows have equal digests."""
    num_rows: int
    schema: pa.Schema
    tables: Callable[[], Iterator[pa.Table]]
    """Yields Arrow tables in row order, one in memory at a time."""
    _row_type: type[Row]
    storage: StorageSettings | None = None
    """What the table was opened with."""

    def __len__(self) -> int:
        return self.num_rows

    def __iter__(self) -> Iterator[Row]:
        for table in self.tables():
            for batch in table.to_batches(max_chunksize=256):
                yield from rows_of(batch, self._row_type)

    def to_arrow(self) -> pa.Table:
        """Return all rows as one Arrow table in memory."""
        tables = list(self.tables())
        return pa.concat_tables(tables) if tables else self.schema.empty_table()

    def to_pandas(self) -> pd.DataFrame:
        """Return all rows as a data frame. Raises RuntimeEnvironmentError if pandas is not installed."""
        try:
            import pandas  # noqa: F401 - pyarrow's own message does not say what to install
        except ImportError as error:
            raise _missing_library("pandas") from error
        return self.to_arrow().to_pandas()

    def to_dataset(self) -> Dataset:
        """Return all rows as a `datasets.Dataset`. Raises RuntimeEnvironmentError if `datasets` is not installed."""
        try:
            from datasets import Dataset
            from datasets.table import InMemoryTable
        except ImportError as error:
            raise _missing_library("datasets") from error
        # our own metadata is not in the form that `datasets` keeps its features in
        return Dataset(InMemoryTable(self.to_arrow().replace_schema_metadata(None)))

    def __repr__(self) -> str:
        return f"LabelTable({self.kind} at {self.url}, {self.num_rows} rows, {self.digest})"


def open_evidence(url: str, storage: StorageSettings | None = None) -> LabelTable[EvidenceRow]:
    """Open the latest snapshot of an output of `groundswell label`.

    url:     a folder or an fsspec URL such as `s3://bucket/evidence`
    storage: endpoint and options of the file system
    raises:  NotFoundError if nothing is committed there, ConflictError if a file is not what was committed
    """
    opened = evidence.open_evidence(url, storage)
    samples = opened.snapshot.totals.samples
    return LabelTable(
        url=url,
        kind="evidence",
        digest=opened.snapshot.digest,
        num_rows=samples.labelled + samples.empty,
        schema=EVIDENCE,
        tables=opened.tables,
        _row_type=EvidenceRow,
        storage=storage,
    )


def open_view(url: str, storage: StorageSettings | None = None) -> LabelTable[ViewRow]:
    """Open a view (an output of `groundswell compile`) or gold (of `groundswell gold import`).

    raises: NotFoundError if there is no complete view, ConflictError if a file is not what its manifest says
    """
    opened = views.open_view(url, storage)
    manifest = opened.manifest
    return LabelTable(
        url=url,
        kind=manifest.kind,
        digest=manifest.digest,
        num_rows=manifest.rows,
        schema=VIEW,
        tables=opened.tables,
        _row_type=ViewRow,
        storage=storage,
    )


def _missing_library(name: str) -> RuntimeEnvironmentError:
    return RuntimeEnvironmentError(
        f"the library {name} is not installed; install it with: pip install {name}"
    )
