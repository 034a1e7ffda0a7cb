"""What an importer is: a format of `gold import`, and the reader that it opens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pipelines.exchange.gold.options import ImportOptions
    from schemas.rows import ViewRow
    from student.gold.account import ImportAccount
    from student.gold.class_names import QuestionableName


class GoldReader(Protocol):
    """Reads one file or folder. All properties are final once the rows were read."""

    @property
    def facts(self) -> Mapping[str, object]:
        """What the format reports beyond the account."""
        ...

    @property
    def category_ids(self) -> dict[str, str] | None:
        """Names of the categories by the text of their ids, if results for the file are joined by these ids."""
        ...

    @property
    def problems(self) -> Sequence[str]:
        """Reasons why the gold cannot be used, each with its remedy."""
        ...

    @property
    def exhaustive(self) -> bool:
        """Whether what a row does not name, or names as absent, is known not to be in its image."""
        ...

    @property
    def source_ids(self) -> Sequence[Sequence[str | None]]:
        """For each row, the id of each region in the file, as text. A reader may leave it out."""
        ...

    @property
    def questionable_names(self) -> Sequence[QuestionableName]:
        """Names of classes that no row names as absent, each with the reason. A reader may leave it out."""
        ...

    def rows(self) -> Iterator[ViewRow]:
        """Yield rows of the view's form, in order."""
        ...


class ImportOption(StrEnum):
    """An option of `gold import` that only some formats use."""

    NEGATIVES = "--negatives"
    LABEL_MAP = "--label-map"
    DIALECT = "--dialect"
    BOXES = "--boxes and --unit"
    MERGE_NAMES = "--merge-names"
    ORIGIN = "--origin"
    PART = "--part"


@dataclass(frozen=True)
class Importer:
    """One format of human labels.

    open:         opens a path; the reader reports every record to the account
    options:      the options that the format uses. The others are refused
    recognize:    whether a path looks like the format, only to say so. Two formats should not recognize the same
    has_sizes:    whether the format states the size of an image. Without, boxes mean nothing without the image
    folder_files: glob patterns of the files that make up a folder. Without them the format is one file
    """

    open: Callable[[Path, ImportOptions, ImportAccount], GoldReader]
    options: frozenset[ImportOption] = frozenset()
    folder_files: tuple[str, ...] = ()
    recognize: Callable[[Path], bool] | None = None
    has_sizes: bool = True
