"""The reports of `check` and `gold import`: the records kept, repaired and refused, and what was written."""

from __future__ import annotations

from pydantic import Field, JsonValue

from pipelines.report_base import Report, Table
from student.gold.account import RecordCounts
from student.gold.class_names import NAME_REASONS
from student.gold.codes import REFUSED, REPAIRED


class LabelReport(Report):
    """The account of a file of labels."""

    format: str
    rows: int = Field(ge=0)
    regions: int = Field(ge=0)
    facts: dict[str, JsonValue]
    records: dict[str, RecordCounts] = Field(description="by kind: in, kept, repaired, refused, codes")
    examples: dict[str, list[str]] = Field(description="first examples by 'KIND CODE'")
    unknown: int = Field(
        0,
        ge=0,
        description="classes or phrases of an image that are unresolved since a record of them was refused",
    )
    questionable_names: dict[str, str] = Field(
        {}, description="class names that no row names as absent, with the reason"
    )
    too_many_refused: list[str] = Field(
        [], description="kinds of records of which more were refused than allowed; then the exit code is 3"
    )
    problems: list[str] = Field(
        [], description="why nothing can be learned from these labels; then the exit code is 3"
    )

    def list_problems(self) -> list[str]:
        """Return the reasons for exit code 3, none for a sound file."""
        return [*self.problems, *self.too_many_refused]

    def tables(self) -> list[Table]:
        """Return the report as tables, in reading order."""
        meaning = {**REPAIRED, **REFUSED}
        counts = [
            (kind, *(str(numbers[name]) for name in ("in", "kept", "repaired", "refused")))
            for kind, numbers in self.records.items()
        ]
        codes = [
            (kind, code, str(number), meaning[code], "; ".join(self.examples.get(f"{kind} {code}", ())[:1]))
            for kind, numbers in self.records.items()
            for code, number in numbers["codes"].items()
        ]
        names = [(name, reason, NAME_REASONS[reason]) for name, reason in self.questionable_names.items()]
        doubts = [Table("names never asked as absent", ("name", "reason", "remedy"), names)] if names else []
        return [
            Table("records", ("kind", "in", "kept", "repaired", "refused"), counts),
            Table("reasons", ("kind", "code", "number", "meaning", "first"), codes),
            *doubts,
            Table(self.format, ("what", "value"), self.list_values()),
        ]

    def list_values(self) -> list[tuple[str, str]]:
        """Return the single values of the report, by name."""
        return [("rows", f"{self.rows}"), ("regions", f"{self.regions}"), ("unknown", f"{self.unknown}")]


class GoldReport(LabelReport):
    """The account of an import. The manifest of the gold, or view, has the same numbers."""

    to: str
    digest: str
    phrases: int = Field(ge=0)
    exhaustive: bool = Field(description="whether what a row does not name is known not to be in its image")
    without_images: bool

    def list_values(self) -> list[tuple[str, str]]:
        """Return the single values of the report, by name."""
        return [
            *super().list_values(),
            ("phrases", f"{self.phrases}"),
            ("exhaustive", "yes" if self.exhaustive else "no"),
            ("digest", self.digest),
            ("in", self.to),
        ]
