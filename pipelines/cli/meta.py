"""The verbs about the product itself: demo, doctor, schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.shell import JSON, Progress, example, give, say, table, verb
from schemas.errors import ConfigError, RuntimeEnvironmentError


def add_verbs(app: typer.Typer) -> None:
    """Add this family to the command line."""
    app.command("demo", epilog=example("groundswell demo", "groundswell demo --to /tmp/demo --seed 1"))(demo)
    app.command("doctor", epilog=example("groundswell doctor", "groundswell doctor --store s3://bucket/tmp"))(
        doctor
    )
    app.command("schema", epilog=example("groundswell schema job > job.schema.json"))(schema)


@verb
def demo(
    to: Annotated[Path, typer.Option(help="Folder of the demo's files.")] = Path(".demo"),
    seed: Annotated[int, typer.Option(help="The one seed of everything.")] = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="The same steps in about a minute; the numbers mean nothing.")
    ] = False,
    as_json: bool = JSON,
) -> None:
    """The whole loop on a small synthetic world, minutes on two cores, no download.

    Exit 3 when labelling rejected more samples than run.max_rejected allows.
    """
    from pipelines.config.output_place import Kind, check_folder

    check_folder("--to", str(to), Kind.DEMO)

    from pipelines.demo.recipe import Recipe
    from pipelines.demo.run import run_demo

    recipe = Recipe.quick(seed) if quick else Recipe(seed=seed)
    result = run_demo(to, recipe, progress=Progress(), say=say)
    give(as_json, result.data(), result.text())


@verb
def doctor(
    store: Annotated[
        str | None, typer.Option(help="Also check that this place honours conditional writes.")
    ] = None,
    as_json: bool = JSON,
) -> None:
    """Check this machine; every finding that is not ok comes with its fix. Exit 6 when one is not."""
    from pipelines.doctor.checks import report, run_checks

    findings = run_checks(store)
    rows = [[item.check, "ok" if item.ok else "NOT OK", item.found, item.fix] for item in findings]
    give(as_json, report(findings), table(rows, ["check", "", "found", "fix"]))
    wrong = [item.check for item in findings if not item.ok]
    if wrong:
        raise RuntimeEnvironmentError(f"{', '.join(wrong)}: see the fix above")


@verb
def schema(
    name: Annotated[
        str | None, typer.Argument(help="job, policy, train, commit, evidence, view, ...")
    ] = None,
    as_json: bool = JSON,
) -> None:
    """Print a JSON Schema, for editors and other programs; without a name, list them."""
    from pipelines.config.catalogue import SCHEMAS, json_schema

    if name is None:
        give(as_json, list(SCHEMAS), "\n".join(SCHEMAS))
        return
    if name not in SCHEMAS:
        raise ConfigError(f"schema {name!r} is not one of: {', '.join(SCHEMAS)}")
    give(True, json_schema(name), "")
