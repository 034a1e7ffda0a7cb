"""`check`: read a file of labels as an import would, and report what it would keep, repair and refuse."""

from __future__ import annotations

from pathlib import Path

from pipelines.exchange.gold.import_report import LabelReport
from pipelines.exchange.gold.judgment import judge_labels
from pipelines.exchange.gold.options import ImportOptions
from pipelines.exchange.guess_format import guess_format, name_likely_format
from pipelines.exchange.import_gold import check_options, check_path, describe_refusals
from pipelines.exchange.importers import IMPORTERS
from schemas.errors import ConfigError, GroundswellError
from student.gold.account import ImportAccount


def check_labels(path: Path, options: ImportOptions, format: str | None = None) -> LabelReport:
    """Return the report of a file.

    format: a name in IMPORTERS, or `module:attribute` of an importer; None: the one that the file looks like
    Raises NotFoundError, ConfigError for a file of no known format or an option that the format would ignore, and
    GroundswellError if every record would be refused.
    """
    name = format or guess_format(path)
    if name is None:
        raise ConfigError(
            f"{path} looks like none of {', '.join(IMPORTERS.names())}; give --format, or check that it has labels"
        )
    importer = IMPORTERS.load(name)
    check_path(name, importer, path)
    check_options(name, options)
    account = ImportAccount()
    with name_likely_format(name, path):
        reader = importer.open(path, options, account)
        rows = regions = boxes = 0
        for row in reader.rows():
            rows += 1
            regions += len(row["regions"])
            boxes += sum(region["fate"] != "ignore" for region in row["regions"])
        records = account.report()
        if not rows:
            raise GroundswellError(f"{path}: no record would be left; {describe_refusals(records)}")
    judgment = judge_labels(path, reader, records, boxes, options)
    return LabelReport(
        format=name,
        rows=rows,
        regions=regions,
        facts=dict(reader.facts),
        records=records["records"],
        examples=records["examples"],
        unknown=records.get("unknown", 0),
        questionable_names=judgment.questionable_names,
        too_many_refused=judgment.too_many_refused,
        problems=judgment.problems,
    )
