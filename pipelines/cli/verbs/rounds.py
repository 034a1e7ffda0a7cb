"""The verb `rounds`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import JSON, SET
from pipelines.cli.verb import VerbFamily
from pipelines.terminal.output import print_message, print_result
from pipelines.terminal.progress import ProgressPrinter
from schemas.errors import UnfinishedError

ENTRY = VerbFamily(order=130)


@ENTRY.verb("rounds", "groundswell rounds rounds.yaml --json")
def rounds(
    config: Annotated[Path, typer.Argument(help="Configuration of the rounds: a YAML file.")],
    overrides: list[str] = SET,
    as_json: bool = JSON,
) -> None:
    """Run rounds of label, compile, train and promote. The student of a round is the teacher of the next.

    Exit 3 when a stop rule ends the rounds, or when a round rejected more samples than run.max_rejected allows.
    """
    from pipelines.config import load_settings
    from pipelines.config.folder_kind import FolderKind
    from pipelines.config.output_place import check_folder
    from pipelines.rounds.settings import RoundsConfig

    settings = load_settings(config, RoundsConfig, overrides)
    check_folder("out", settings.out, FolderKind.ROUNDS, reads=(str(config),))

    from pipelines.rounds.run import run_rounds

    report = run_rounds(settings, progress=ProgressPrinter(), say=print_message)
    print_result(as_json, report.data(), report.text())
    if report.stops:
        raise typer.Exit(UnfinishedError.exit_code)
