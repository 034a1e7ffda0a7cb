"""Options and exit code of verbs that read files of other tools' labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipelines.terminal.output import print_message
from schemas.errors import UnfinishedError
from student.gold.codes import MAX_REFUSED

BoxesOption = Annotated[
    Literal["xyxy", "xywh", "cxcywh"] | None,
    typer.Option(
        "--boxes", help="What the numbers of a box are. Default: as the format says, if the file agrees."
    ),
]
UnitOption = Annotated[
    Literal["px", "fraction"] | None,
    typer.Option("--unit", help="Unit of these numbers: pixels, or fractions of the image's sides."),
]
MaxRefusedOption = Annotated[
    float,
    typer.Option(
        "--max-refused",
        min=0,
        max=1,
        help="Share of boxes, and of images, of the file that may be refused. Above it, exit 3.",
    ),
]
LabelMapOption = Annotated[
    Path | None,
    typer.Option(
        "--label-map", help='odvg: JSON {"0": class name, ...}. These classes are annotated completely.'
    ),
]
DialectOption = Annotated[
    Literal["auto", "open_gd", "mmdet", "tao"],
    typer.Option("--dialect", help="odvg: program for which the file was written."),
]
MergeNamesOption = Annotated[
    bool, typer.Option("--merge-names", help="Make one class of names that differ by case.")
]
PartOption = Annotated[
    Literal["train", "val", "test"] | None,
    typer.Option("--part", help="yolo: part of the data set. Default: all that data.yaml names."),
]


def exit_for_problems(problems: Sequence[str]) -> None:
    """Print the problems of a file of labels and raise typer.Exit 3, if there are any."""
    if problems:
        print_message("\n".join(f"error: {problem}" for problem in problems))
        raise typer.Exit(UnfinishedError.exit_code)


__all__ = [
    "MAX_REFUSED",
    "BoxesOption",
    "DialectOption",
    "LabelMapOption",
    "MaxRefusedOption",
    "MergeNamesOption",
    "PartOption",
    "UnitOption",
    "exit_for_problems",
]
