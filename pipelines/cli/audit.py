"""The verbs of the auditor: audit sample, serve, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.shell import JSON, OVERWRITE, example, give, parse_roots, say, verb

AuditFolder = Annotated[Path, typer.Argument(help="Folder of an audit, made by `audit sample`.")]


def add_verbs(app: typer.Typer) -> None:
    """Add this family to the command line."""
    group = typer.Typer(
        help="Draw a sample of a view, review it, and say what the view is worth.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("sample", epilog=example("groundswell audit sample runs/view --n 200 --to runs/audit"))(
        sample
    )
    group.command("serve", epilog=example("groundswell audit serve runs/audit --port 8765"))(serve)
    group.command("report", epilog=example("groundswell audit report runs/audit --json"))(report)
    app.add_typer(group, name="audit")


@verb
def sample(
    view: Annotated[str, typer.Argument(help="A view.")],
    to: Annotated[Path, typer.Option(help="Folder of the audit.")],
    n: Annotated[int, typer.Option(min=1, help="How many regions.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    bins: Annotated[int, typer.Option(min=1, help="Strata by score, of about equal size.")] = 5,
    overwrite: bool = OVERWRITE,
    as_json: bool = JSON,
) -> None:
    """Draw a seeded sample, stratified by score, with inclusion probabilities, bound to the view's digest."""
    from pipelines.audit.commands import open_audit
    from pipelines.config.output_place import Kind, check_folder

    check_folder("--to", str(to), Kind.AUDIT, overwrite=overwrite)
    drawn = open_audit(view, to, n=n, seed=seed, bins=bins, overwrite=overwrite)
    give(as_json, drawn.data(), drawn.text())


@verb
def serve(
    audit: AuditFolder,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free port.")] = 8765,
    reviewer: Annotated[str, typer.Option(envvar="USER", help="Whose verdicts these are.")] = "reviewer",
    roots: Annotated[
        list[str],
        typer.Option("--root", metavar="WAS=NOW", help="Images under the prefix WAS lie under NOW."),
    ] = [],  # noqa: B006
) -> None:
    """One page on this machine only: A accept, X reject, Space skip, Z undo. Ctrl-C ends it; nothing is lost.

    The keys work once picture, box and caption are on the screen. An item whose picture cannot be shown can only be
    skipped.
    """
    from pipelines.audit.commands import serve_audit

    serve_audit(audit, port=port, reviewer=reviewer, say=say, roots=parse_roots(roots))


@verb
def report(
    audit: AuditFolder,
    view: Annotated[
        str | None, typer.Option(help="Refuse (exit 5) unless this is the view that was sampled.")
    ] = None,
    reviewer: Annotated[
        str | None, typer.Option(help="Whose verdicts; without it, those of the one person.")
    ] = None,
    as_json: bool = JSON,
) -> None:
    """Precision with its interval, as a whole and by stratum."""
    from pipelines.audit.commands import report_audit

    result = report_audit(audit, view=view, reviewer=reviewer)
    give(as_json, result.data(), result.text())
