"""Build the command line from its verbs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from pipelines.terminal.interrupt import end_on_signal
from schemas.errors import ConfigError

if TYPE_CHECKING:
    import typer

HELP = (
    "Turn captioned web images into grounded training data, and measure how good that data is.\n\n"
    "label writes evidence, compile makes a view of it, audit measures the view, train makes a student.\n\n"
)


def build_app() -> typer.Typer:
    """Return the whole command line. Imports Typer and the verbs here, when signals are already handled."""
    import typer

    from pipelines.cli.options import EXIT_CODES
    from pipelines.cli.registry import list_families
    from pipelines.cli.verb import format_examples

    app = typer.Typer(
        name="groundswell",
        help=HELP + EXIT_CODES,
        epilog=format_examples("groundswell demo", "groundswell label job.yaml --json"),
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for family in list_families():
        family.add_to(app)
    return app


def main() -> None:
    """Run the console script. Progress bars of libraries are off, because they would break our progress lines."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    with end_on_signal():
        try:
            app = build_app()
        except ConfigError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(error.exit_code) from None
        app()
