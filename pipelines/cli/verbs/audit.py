"""The verbs of the auditor: audit sample, serve, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import JSON, OVERWRITE, parse_roots
from pipelines.cli.verb import VerbFamily
from pipelines.terminal.output import print_message, print_result

AuditFolder = Annotated[Path, typer.Argument(help="Folder of an audit, made by `audit sample`.")]
ENTRY = VerbFamily(order=140, group="audit", help="Review a sample of a view to estimate its precision.")


@ENTRY.verb("sample", "groundswell audit sample runs/view --n 200 --to runs/audit")
def sample(
    view: Annotated[str, typer.Argument(help="View.")],
    to: Annotated[Path, typer.Option(help="Folder of the audit.")],
    n: Annotated[int, typer.Option(min=1, help="Number of regions.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    bins: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of score strata, of about equal size; default 5, or 1 for regions without scores.",
            show_default=False,
        ),
    ] = None,
    overwrite: bool = OVERWRITE,
    as_json: bool = JSON,
) -> None:
    """Draw a seeded sample of regions, stratified by score, with inclusion probabilities.

    The sample is bound to the digest of the view.
    """
    from pipelines.audit.commands import open_audit
    from pipelines.config.folder_kind import FolderKind
    from pipelines.config.output_place import check_folder

    check_folder("--to", str(to), FolderKind.AUDIT, overwrite=overwrite)
    drawn = open_audit(view, to, n=n, seed=seed, bins=bins, overwrite=overwrite)
    print_result(as_json, drawn.data(), drawn.text())


@ENTRY.verb("serve", "groundswell audit serve runs/audit --port 8765")
def serve(
    audit: AuditFolder,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8765,
    reviewer: Annotated[
        str, typer.Option(envvar="USER", help="Name under which verdicts are stored.")
    ] = "reviewer",
    roots: Annotated[
        list[str],
        typer.Option(
            "--root",
            metavar="WAS=NOW",
            help="Read images with the URL prefix WAS from NOW instead. Repeatable.",
        ),
    ] = [],  # noqa: B006
) -> None:
    """Serve the review page to browsers of this machine.

    Keys: A accept, X reject, Space skip, Z undo. Ctrl-C ends the server. Every verdict is stored at once. The keys work
    once picture, box and caption are visible. An item without a picture can only be skipped.
    """
    from pipelines.audit.commands import serve_audit

    serve_audit(audit, port=port, reviewer=reviewer, say=print_message, roots=parse_roots(roots))


@ENTRY.verb("report", "groundswell audit report runs/audit --json")
def report(
    audit: AuditFolder,
    view: Annotated[
        str | None, typer.Option(help="Fail with exit 5 unless this is the sampled view.")
    ] = None,
    reviewer: Annotated[
        str | None, typer.Option(help="Whose verdicts. Needed only if several people reviewed.")
    ] = None,
    as_json: bool = JSON,
) -> None:
    """Print the precision with its confidence interval, in total and per stratum."""
    from pipelines.audit.commands import report_audit

    result = report_audit(audit, view=view, reviewer=reviewer)
    print_result(as_json, result.data(), result.text())
