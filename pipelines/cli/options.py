"""Options that several verbs share, and the exit codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import typer

from schemas.errors import ConfigError

EXIT_CODES = (
    "Exit codes: 0 ok; 1 failed; 2 usage or configuration; 3 finished with failed, quarantined or unfinished "
    "units, too many rejected samples or a gate not passed; 4 not found; 5 conflict; 6 environment; "
    "10 work to do (plan --detailed-exitcode); 130 interrupted."
)
JSON = typer.Option(False, "--json", help="Print one JSON object on stdout instead of text.")
SET = typer.Option(
    [],
    "--set",
    metavar="NAME=VALUE",
    help="Override a field of the file, e.g. --set run.batch_size=8. Repeatable.",
)
ADDRESS = typer.Option(
    None,
    metavar="ADDRESS",
    help="Running Ray cluster: host:port, ray://host:port or auto. Default: run.address, then RAY_ADDRESS, then a new "
    "cluster on this machine.",
)
LOG = typer.Option(
    None,
    "--log-format",
    envvar="GROUNDSWELL_LOG",
    help="Format of log lines on stderr and in OUT/logs: text or json, optionally with a level, e.g. json,debug.",
)
OVERWRITE = typer.Option(
    False,
    "--overwrite",
    help="Replace an earlier output of this verb. Outputs of other verbs are never replaced.",
)


def refuse_unused(options: Mapping[str, bool], reason: str) -> None:
    """Raise ConfigError for an option that has no effect here.

    options: whether each option was given another value than its default
    reason:  why it has none and what would change that
    """
    given = [option for option, is_given in options.items() if is_given]
    if given:
        raise ConfigError(f"{' and '.join(given)} would have no effect: {reason}")


def parse_roots(options: Sequence[str]) -> dict[str, str]:
    """Parse the values of `--root WAS=NOW`. Raises ConfigError for any other form."""
    roots = {}
    for option in options:
        was, _, now = option.partition("=")
        if not (was and now):
            raise ConfigError(f"--root {option}: expected WAS=NOW, e.g. --root s3://old/=/mnt/new/")
        roots[was] = now
    return roots
