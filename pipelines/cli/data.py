"""The verbs that look at evidence and views: compile, diff, stats, inspect, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.shell import JSON, SET, Progress, example, give, say, verb
from schemas.errors import ConfigError

EvidenceOrView = Annotated[str, typer.Argument(help="The output of `label`, or a view.")]


def add_verbs(app: typer.Typer) -> None:
    """Add this family to the command line."""
    app.command("compile", epilog=example("groundswell compile runs/evidence policy.yaml --to runs/view"))(
        compile_evidence
    )
    app.command("diff", epilog=example("groundswell diff runs/view runs/stricter"))(diff)
    app.command("stats", epilog=example("groundswell stats runs/view"))(stats)
    app.command("inspect", epilog=example("groundswell inspect runs/view --to runs/pictures --n 12"))(inspect)
    app.command("export", epilog=example("groundswell export runs/view --format coco --to runs/labels.json"))(
        export
    )


@verb
def compile_evidence(
    evidence: Annotated[str, typer.Argument(help="The output of `label`.")],
    policy: Annotated[Path, typer.Argument(help="The policy: a YAML file.")],
    to: Annotated[str, typer.Option(help="Folder of the view.")],
    overrides: list[str] = SET,
    materialize: Annotated[
        str | None, typer.Option(help="webdataset: also write tars of image + json under TO/webdataset.")
    ] = None,
    as_json: bool = JSON,
) -> None:
    """Make a view of evidence under a policy, on the CPU; the same inputs give the same digest.

    Of a phrase with a kept box, candidates that a rule removed stay as regions to ignore, unless the policy sets
    ignore_score. Where a view stands at TO already, a policy that omits ignore_score takes that view's.
    """
    from pipelines.compile.policy import Policy
    from pipelines.compile.run import compile_view, continued_policy
    from pipelines.config import load_settings

    if materialize not in (None, "webdataset"):
        raise ConfigError(f"--materialize {materialize!r}: expected webdataset")
    rules = continued_policy(load_settings(policy, Policy, overrides), to, say)
    report = compile_view(evidence, rules, to, progress=Progress())
    data, text = report.data(), report.text()
    if materialize:
        from pipelines.compile.materialize import materialize_webdataset

        tars = materialize_webdataset(to, f"{to.rstrip('/')}/webdataset", progress=Progress())
        data, text = {**data, "materialized": tars.data()}, f"{text}\n\n{tars.text()}"
    give(as_json, data, text)


@verb
def diff(
    first: Annotated[str, typer.Argument(help="A view.")],
    second: Annotated[str, typer.Argument(help="Another view, of the same evidence.")],
    as_json: bool = JSON,
) -> None:
    """What changed between two views: policy, samples, regions by fate, phrases by fate."""
    from pipelines.compile.diff import diff_views

    report = diff_views(first, second)
    give(as_json, report.data(), report.text())


@verb
def stats(source: EvidenceOrView, as_json: bool = JSON) -> None:
    """Counts and distributions of evidence or of a view; of a view, kept regions and those to ignore apart."""
    from pipelines.look.stats import statistics_of

    report = statistics_of(source, progress=Progress())
    give(as_json, report.data(), report.text())


@verb
def inspect(
    source: EvidenceOrView,
    to: Annotated[Path, typer.Option(help="Folder of the pictures.")],
    n: Annotated[int, typer.Option(min=1, help="How many samples, drawn by the seed.")] = 12,
    key: Annotated[
        list[str], typer.Option(help="Only this sample: KEY, SHARD/KEY or UNIT:INDEX; may be repeated.")
    ] = [],  # noqa: B006
    min_score: Annotated[
        float, typer.Option(min=0, max=1, help="Only regions of at least this raw score.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    as_json: bool = JSON,
) -> None:
    """Draw boxes, phrases and scores on the images.

    A whole line is a kept box. Boxes to ignore and class_only ones have broken lines, which a legend explains.
    """
    from pipelines.look.inspect import draw_samples

    report = draw_samples(source, to, n=n, keys=key, seed=seed, min_score=min_score, progress=Progress())
    give(as_json, report.data(), report.text())


@verb
def export(
    source: EvidenceOrView,
    to: Annotated[Path, typer.Option(help="File to write.")],
    format: Annotated[str, typer.Option(help="coco")] = "coco",
    as_json: bool = JSON,
) -> None:
    """Write labels for other programs, and count what their format cannot hold.

    A region to ignore is written as iscrowd: 1 and counted on its own.
    """
    from pipelines.exchange.coco import export_coco

    if format != "coco":
        raise ConfigError(f"--format {format!r}: expected coco")
    report = export_coco(source, to)
    give(as_json, report.data(), report.text())
