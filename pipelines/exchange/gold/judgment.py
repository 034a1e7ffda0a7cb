"""What is wrong with a file of labels once it was read: the same judgment for `check` and for `gold import`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.exchange.gold.options import ImportOptions
from pipelines.exchange.importer import GoldReader
from student.data.gold_account import describe_refused_boxes, describe_refused_shares
from student.gold.account import AccountReport


@dataclass(frozen=True)
class Judgment:
    """Reasons against a file of labels.

    problems:           why nothing can be learned from it
    too_many_refused:   kinds of records of which more were refused than allowed
    questionable_names: class names that no row names as absent, with the reason
    """

    problems: list[str]
    too_many_refused: list[str]
    questionable_names: dict[str, str]

    def describe(self) -> Mapping[str, object]:
        """Return what is not empty, by name, for a manifest."""
        return {name: value for name, value in vars(self).items() if value}


def judge_labels(
    path: Path, reader: GoldReader, records: AccountReport, boxes: int, options: ImportOptions
) -> Judgment:
    """Return the judgment of a file whose rows were all read.

    boxes: number of its boxes that are not to be ignored
    """
    refused = describe_refused_boxes(boxes, records)
    return Judgment(
        problems=[
            *reader.problems,
            *([f"{path.name}: {refused}"] if refused else []),
            *_describe_shared_images(options),
        ],
        too_many_refused=describe_refused_shares(records, options.max_refused),
        questionable_names={one.name: one.reason for one in getattr(reader, "questionable_names", ())},
    )


def _describe_shared_images(options: ImportOptions) -> list[str]:
    """Return a problem if two names found one image by their last part, since the labels of one are not of it."""
    problems = [] if options.images is None else options.images.problems
    if not problems:
        return []
    return [
        f"{problems[0]} ({len(problems)} such images): the image of one of the two names is another; "
        "name the folder in which both are, or a pattern with {file_name}"
    ]
