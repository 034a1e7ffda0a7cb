"""The verb `compile`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import JSON, OVERWRITE, SET
from pipelines.cli.verb import VerbFamily
from pipelines.terminal.output import print_message, print_result
from pipelines.terminal.progress import ProgressPrinter
from schemas.errors import ConfigError, ConflictError

ENTRY = VerbFamily(order=50)


@ENTRY.verb("compile", "groundswell compile runs/evidence policy.yaml --to runs/view")
def compile_evidence(
    evidence: Annotated[str, typer.Argument(help="Output of `label`.")],
    policy: Annotated[Path, typer.Argument(help="Policy: a YAML file.")],
    to: Annotated[str, typer.Option(help="Folder of the view.")],
    overrides: list[str] = SET,
    materialize: Annotated[
        str | None,
        typer.Option(help="webdataset: also write tar files with image and JSON to TO/webdataset."),
    ] = None,
    overwrite: bool = OVERWRITE,
    as_json: bool = JSON,
) -> None:
    """Make a view of evidence under a policy, on the CPU. Equal inputs give an equal digest.

    If a phrase has a kept box, its candidates that a rule removed become regions to ignore, unless the policy sets
    ignore_score. If TO already contains a view, a policy that omits ignore_score takes the value of that view.

    Exit 3 when the evidence has no labeled sample. Exit 5 when TO contains another view (without --overwrite) or other
    files.
    """
    from pipelines.compile.policy import Policy
    from pipelines.compile.run import compile_view, inherit_stored_fields
    from pipelines.config import load_settings

    if materialize not in (None, "webdataset"):
        raise ConfigError(f"--materialize {materialize!r}: expected webdataset")
    rules = load_settings(policy, Policy, overrides)
    _check_view(to, materialize is not None, overwrite)
    if not overwrite:
        rules = inherit_stored_fields(rules, to, print_message)
    report = compile_view(evidence, rules, to, progress=ProgressPrinter(), overwrite=overwrite)
    data, text = report.data(), report.text()
    if materialize:
        from pipelines.compile.materialize import materialize_webdataset

        tars = materialize_webdataset(to, _tar_folder(to), progress=ProgressPrinter(), overwrite=overwrite)
        data, text = {**data, "materialized": tars.data()}, f"{text}\n\n{tars.text()}"
    print_result(as_json, data, text)


def _check_view(to: str, materialize: bool, overwrite: bool) -> None:
    """Check the folder of a view and, in it, the folder of its tar files. Raises ConflictError."""
    from pipelines.config.folder_kind import FolderKind, detect_kind
    from pipelines.config.output_place import check_folder

    kinds = (FolderKind.VIEW, FolderKind.PARTS)
    if check_folder("--to", to, kinds, overwrite=overwrite) is FolderKind.NOTHING:
        return
    tars = _tar_folder(to)
    kind = detect_kind(tars)
    if materialize and kind not in (FolderKind.NOTHING, FolderKind.TARS, FolderKind.SHARDS):
        raise ConflictError(
            f"{tars} contains {kind.value}; expected a new or empty folder, or the tar files of this view; choose "
            "another folder for --to"
        )
    if overwrite and not materialize and kind is not FolderKind.NOTHING:
        raise ConflictError(
            f"{tars} contains the tar files of the view that --overwrite would replace; add --materialize webdataset, "
            "or choose another folder for --to"
        )


def _tar_folder(view: str) -> str:
    """Return the folder of a view's tar files."""
    return f"{view.rstrip('/')}/webdataset"
