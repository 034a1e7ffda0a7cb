"""The verb `train`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from pipelines.cli.options import JSON, SET
from pipelines.cli.verb import VerbFamily
from pipelines.terminal.output import print_result
from pipelines.terminal.progress import ProgressPrinter
from pipelines.terminal.table import format_table
from schemas.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import JsonValue

ENTRY = VerbFamily(order=100)


@ENTRY.verb("train", "groundswell train train.yaml")
def train(
    config: Annotated[Path, typer.Argument(help="Configuration of the training: a YAML file.")],
    overrides: list[str] = SET,
    audit: Annotated[
        list[Path] | None,
        typer.Option(help="Output of `audit report --json`, for the model card. Repeatable."),
    ] = None,
    evaluation: Annotated[
        list[Path] | None, typer.Option(help="Output of `evaluate --json`, for the model card. Repeatable.")
    ] = None,
    as_json: bool = JSON,
) -> None:
    """Train a student on gold and views. Run the same command again to continue an interrupted run.

    The first Ctrl-C or SIGTERM writes a checkpoint after the current step and exits with 130. The second one stops at
    once.
    """
    from engine.reading.user_text import read_json
    from pipelines.config import load_settings
    from pipelines.config.folder_kind import FolderKind
    from pipelines.config.output_place import check_folder
    from pipelines.terminal.interrupt import drain_training_on_signal
    from student.settings.train import TrainSettings

    settings = load_settings(config, TrainSettings, overrides)
    check_folder("out", settings.out, FolderKind.TRAINING, reads=(str(config),))

    from student.training.model_card import CardReports
    from student.training.train import train as run_train

    with drain_training_on_signal() as stop:
        audits = cast("list[dict[str, JsonValue]]", [read_json(path, "--audit") for path in audit or ()])
        card_reports = CardReports(audits, _read_by_stem(evaluation or ()))
        report = run_train(settings, progress=ProgressPrinter(), stop=stop, card_reports=card_reports)
    print_result(as_json, report, format_report(report))


def _read_by_stem(paths: Sequence[Path]) -> dict[str, dict[str, JsonValue]]:
    """Read evaluations; return them by file name without suffix. Raises ConfigError for two files of one name."""
    from engine.reading.user_text import read_json

    stems = [path.stem for path in paths]
    if twice := [stem for stem in stems if stems.count(stem) > 1]:
        raise ConfigError(
            f"--evaluation: two files have the name {twice[0]}, under which the model card lists them; rename one"
        )
    read = {path.stem: read_json(path, "--evaluation") for path in paths}
    return cast("dict[str, dict[str, JsonValue]]", read)


def format_report(report: Mapping[str, Any]) -> str:
    """Format a training's report: steps, data, digests."""
    streams = [
        [item["kind"], f"{item['share']:.2f}", item["images"], item["boxes"], item["url"]]
        for item in report["streams"]
    ]
    lines = [
        f"{report['steps']} steps, {report['images_seen']} images seen, {report['parameters']:,} parameters, "
        f"of which {report['tuning']['learned']:,} learned (tuning {report['tuning']['mode']})",
        format_table(streams, ["data", "share", "images", "boxes", "where"]),
        *report["parameter_groups"],
        f"weights sha256:{report['model_sha256']}",
        f"run     {report['run_digest']}",
    ]
    return "\n".join(lines)
