"""The verbs for model directories: model info, model convert-glip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import JSON
from pipelines.cli.verb import VerbFamily
from pipelines.terminal.output import print_result
from pipelines.terminal.table import format_table

ENTRY = VerbFamily(order=120, group="model", help="Describe a model, or convert a GLIP checkpoint.")


@ENTRY.verb("info", "groundswell model info .demo/teacher/model")
def info(
    model: Annotated[Path, typer.Argument(help="Model directory, or a detector (.onnx).")],
    as_json: bool = JSON,
) -> None:
    """Print a model's architecture, sizes, tokenizer and digest."""
    from pipelines.cli.model_info import describe_model

    facts = describe_model(model)
    rows: list[list[object]] = [
        [name, value] for name, value in facts.items() if name not in ("config", "parts")
    ]
    parts = facts.get("parts")
    if isinstance(parts, dict):
        rows += [[f"  {name}", count] for name, count in parts.items()]
    print_result(as_json, facts, format_table(rows, ["what", "value"]))


@ENTRY.verb(
    "convert-glip", "groundswell model convert-glip glip_tiny_model_o365_goldg_cc_sbu.pth --to ./glip-t"
)
def convert_glip(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of the GLIP authors (.pth).")],
    to: Annotated[Path, typer.Option(help="Model directory to write. It must not exist.")],
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            help="Directory of bert-base-uncased (vocab.txt is enough). Default: download it from the hub."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="JSON with fields of GlipConfig, for sizes other than A, T and L.")
    ] = None,
    ema: Annotated[
        bool, typer.Option("--ema", help="Take the moving average of the weights (model_ema).")
    ] = False,
    prompt: Annotated[
        str | None, typer.Option(help="The prompt for which a prompt-tuned checkpoint was tuned.")
    ] = None,
    as_json: bool = JSON,
) -> None:
    """Convert official GLIP weights to a model directory.

    The directory works offline. A pickle in the file is never executed.
    """
    from pipelines.config.output_place import check_new_folder

    check_new_folder("--to", str(to))

    from teacher.models.glip.checkpoint.convert import convert

    facts = convert(checkpoint, to, tokenizer, config, ema, prompt)
    rows: list[list[object]] = [[name, value] for name, value in facts.items() if name != "keys"]
    keys = facts["keys"]
    if isinstance(keys, dict):
        rows += [[f"  keys {name}", count] for name, count in keys.items()]
    print_result(as_json, facts, format_table(rows, ["what", "value"]))
