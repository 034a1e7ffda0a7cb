"""The verb `schema`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.options import JSON
from pipelines.cli.verb import VerbFamily
from pipelines.terminal.output import print_result
from schemas.errors import ConfigError

ENTRY = VerbFamily(order=30)


@ENTRY.verb("schema", "groundswell schema job > job.schema.json")
def schema(
    name: Annotated[
        str | None, typer.Argument(help="Name of a schema, e.g. job, policy, train, commit, evidence, view.")
    ] = None,
    as_json: bool = JSON,
) -> None:
    """Print a JSON Schema, for editors and other programs. Without a name, list the names."""
    from pipelines.cli.schema_catalog import describe, load_catalog

    catalog = load_catalog()
    if name is None:
        print_result(as_json, list(catalog), "\n".join(catalog))
        return
    if name not in catalog:
        raise ConfigError(f"schema {name!r} is unknown; expected one of {', '.join(catalog)}")
    print_result(True, describe(name, catalog[name]), "")
