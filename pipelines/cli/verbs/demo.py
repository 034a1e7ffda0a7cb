"""The verb `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import JSON
from pipelines.cli.verb import VerbFamily
from pipelines.terminal.output import print_message, print_result
from pipelines.terminal.progress import ProgressPrinter

ENTRY = VerbFamily(order=10)


@ENTRY.verb("demo", "groundswell demo", "groundswell demo --to /tmp/demo --seed 1")
def demo(
    to: Annotated[Path, typer.Option(help="Folder for the files of the demo.")] = Path(".demo"),
    seed: Annotated[int, typer.Option(help="Seed of everything that is random.")] = 0,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Run the same steps in about a minute. The numbers then mean nothing."),
    ] = False,
    as_json: bool = JSON,
) -> None:
    """Run the whole loop on a small synthetic world. It takes minutes on two cores and downloads nothing.

    Exit 3 when labeling rejected more samples than run.max_rejected allows.
    """
    from pipelines.config.folder_kind import FolderKind
    from pipelines.config.output_place import check_folder

    check_folder("--to", str(to), FolderKind.DEMO)

    from pipelines.demo.recipe import Recipe
    from pipelines.demo.run import run_demo

    recipe = Recipe.quick(seed) if quick else Recipe(seed=seed)
    result = run_demo(to, recipe, progress=ProgressPrinter(), say=print_message)
    print_result(as_json, result.data(), result.text())
