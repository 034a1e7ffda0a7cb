"""The verb that runs several rounds, with brakes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.shell import JSON, SET, Progress, example, give, say, verb

STOPPED = 3


def add_verbs(app: typer.Typer) -> None:
    """Add this family to the command line."""
    app.command("rounds", epilog=example("groundswell rounds rounds.yaml --json"))(rounds)


@verb
def rounds(
    config: Annotated[Path, typer.Argument(help="The rounds: a YAML file.")],
    overrides: list[str] = SET,
    as_json: bool = JSON,
) -> None:
    """Label, compile, gate, train, evaluate, promote, and again with the student as teacher.

    Exit 3 when a brake holds, or when a round rejected more samples than run.max_rejected allows.
    """
    from pipelines.config import load_settings
    from pipelines.config.output_place import Kind, check_folder
    from pipelines.rounds.settings import RoundsConfig

    asked = load_settings(config, RoundsConfig, overrides)
    check_folder("out", asked.out, Kind.ROUNDS, reads=(str(config),))

    from pipelines.rounds.run import run_rounds

    report = run_rounds(asked, progress=Progress(), say=say)
    give(as_json, report.data(), report.text())
    if report.stops:
        raise typer.Exit(STOPPED)
