"""The verb `doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.options import JSON
from pipelines.cli.verb import VerbFamily
from pipelines.terminal.output import print_result
from pipelines.terminal.table import format_table
from schemas.errors import RuntimeEnvironmentError

ENTRY = VerbFamily(order=20)


@ENTRY.verb("doctor", "groundswell doctor", "groundswell doctor --store s3://bucket/tmp")
def doctor(
    store: Annotated[
        str | None,
        typer.Option(help="Folder or URL. Also check that conditional writes work there."),
    ] = None,
    as_json: bool = JSON,
) -> None:
    """Check this machine, and print a fix for each problem. Exit 6 if a check fails."""
    from pipelines.doctor.checks import report_findings, run_checks

    findings = run_checks(store)
    rows = [[item.check, "ok" if item.ok else "NOT OK", item.found, item.fix] for item in findings]
    print_result(as_json, report_findings(findings), format_table(rows, ["check", "", "found", "fix"]))
    failed = [item.check for item in findings if not item.ok]
    if failed:
        raise RuntimeEnvironmentError(f"failed checks: {', '.join(failed)}; the column `fix` says what to do")
