"""Puts the verbs together."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipelines.label.interrupt import end_when_asked

if TYPE_CHECKING:
    import typer

HELP = (
    "Turns captioned web images into grounded training data and says how good that data is.\n\n"
    "label makes evidence, compile makes a view of it, audit says what the view is worth, train makes a student.\n\n"
)


def build_app() -> typer.Typer:
    """The whole command line. What it imports takes a moment, in which a signal is answered already."""
    import typer

    from pipelines.cli import audit, data, gold, label, meta, models, phrases, rounds
    from pipelines.cli.shell import EXIT_CODES, example

    app = typer.Typer(
        name="groundswell",
        help=HELP + EXIT_CODES,
        epilog=example("groundswell demo", "groundswell label job.yaml --json"),
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for family in (meta, label, data, gold, phrases, models, rounds, audit):
        family.add_verbs(app)
    return app


def main() -> None:
    """The console script. Progress is ours to tell: a library's own bars would write into its lines."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    with end_when_asked():
        build_app()()
