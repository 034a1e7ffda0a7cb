"""Gathers what the demo found into the report's data; computes nothing that the steps did not measure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from engine.views import open_view
from pipelines.compile.evidence import open_evidence
from pipelines.compile.rules import RULES
from pipelines.demo.layout import Places
from pipelines.demo.oracle import precision_lines
from pipelines.demo.recipe import Recipe
from pipelines.labels.fates import is_kept
from pipelines.labels.inspect import Rows, by_seed
from pipelines.labels.photo import read_photo_bytes
from pipelines.reporting.data import (
    Example,
    ExampleBox,
    Histogram,
    Interval,
    LoopNumbers,
    ModelRow,
    NextCommand,
    PolicyStep,
    ReportData,
    Timing,
    TrainingCurve,
)
from pipelines.reporting.page import write_report
from pipelines.reporting.verdict import JUDGED, sentence
from pipelines.steps.cache import Journal
from student.training.metrics_log import read_metrics

EXAMPLES = 8
STEP_NAMES = {
    "world": "render the world",
    "teacher": "train the teacher",
    "label": "label the web",
    "compile": "compile the view",
    "train": "train student and control",
    "evaluate": "evaluate three models",
    "audit": "audit the view",
}
MADE = {
    "teacher": "gold alone, until it has finished it",
    "control": "teacher + gold alone",
    "student": "teacher + gold and view",
}
NOTES = (
    "One seed, one small world: the interval is over the held-out scenes, not over worlds or seeds.",
    "Web and gold are drawn by one renderer, so there is no domain gap here; real captions are harder.",
    "The reviewer of the audit is a program that knows the truth of the tiny world, not a person.",
)


def write_findings(
    places: Places, recipe: Recipe, results: Mapping[str, Any], journal: Journal
) -> dict[str, Any]:
    """Write report.html; the step's result is its path."""
    write_report(report_data(places, recipe, results, journal), places.report)
    return {"path": str(places.report)}


def report_data(places: Places, recipe: Recipe, results: Mapping[str, Any], journal: Journal) -> ReportData:
    """Everything on the page."""
    evaluated, view = results["evaluate"], results["compile"]
    evidence = open_evidence(places.evidence)
    return ReportData(
        title="Groundswell demo: the tiny world",
        seed=recipe.seed,
        loop=loop_numbers(results),
        models=tuple(model_row(name, numbers) for name, numbers in evaluated["models"].items()),
        gains=gains_of(evaluated),
        examples=examples_of(open_view(places.view).rows(), evidence.rows(), recipe.seed),
        scores=Histogram(
            kept=tuple(view["scores"]["view"]),
            ignored=tuple(view["scores"]["ignored"]),
            dropped=tuple(
                whole - kept - ignored
                for whole, kept, ignored in zip(
                    view["scores"]["evidence"],
                    view["scores"]["view"],
                    view["scores"]["ignored"],
                    strict=True,
                )
            ),
            score_kind=view["score_kind"],
        ),
        threshold=recipe.policy.min_score,
        thresholds=precision_lines(evidence.rows(), places.world.web_truth),
        curves=tuple(curve(places, name) for name in MADE),
        audit=results["audit"],
        decoys=view.get("decoys"),
        policy=policy_steps(view),
        timings=tuple(
            Timing(step=text, seconds=journal.seconds[name], cached=name in journal.repeated)
            for name, text in STEP_NAMES.items()
        ),
        next_commands=next_commands(places.folder),
        notes=NOTES,
        provenance={
            "evidence": results["label"]["digest"],
            "policy": view["policy_digest"],
            "view": view["digest"],
            "teacher weights": results["teacher"]["model_sha256"],
            "student weights": results["train"]["student"]["model_sha256"],
            "control weights": results["train"]["control"]["model_sha256"],
            "torch": version("torch"),
        },
    )


def loop_numbers(results: Mapping[str, Any]) -> LoopNumbers:
    """What flowed through each stage."""
    label, view, training = results["label"], results["compile"], results["train"]["student"]
    gold = next(stream for stream in training["streams"] if stream["kind"] == "gold")
    samples = label["samples"]
    return LoopNumbers(
        gold_images=gold["images"],
        gold_boxes=gold["boxes"] - gold["ignored_boxes"],
        web_samples=samples["in"],
        web_shards=results["world"]["web_shards"],
        labelled=samples["labelled"],
        empty=samples["empty"],
        rejected=sum(samples["rejected"].values()),
        units=label["units"]["committed"],
        phrases=sum(view["phrases"].values()),
        evidence_regions=label["regions"],
        kept_regions=view["regions"]["kept"],
        kept_samples=view["samples"]["with_box"],
        train_steps=training["steps"],
        test_images=results["evaluate"]["models"]["student"]["images"]["evaluated"],
    )


def model_row(name: str, numbers: Mapping[str, Any]) -> ModelRow:
    """One model's numbers; -1 of COCO becomes a number that does not exist."""
    groups = numbers["groups"]
    metrics = {
        "AP": _interval(numbers, "AP"),
        "AP50": _interval(numbers, "AP50"),
        "head": _interval(groups["head"], "AP"),
        "tail": _interval(groups["tail"], "AP"),
        "head50": _interval(groups["head"], "AP50"),
        "tail50": _interval(groups["tail"], "AP50"),
    }
    if "recall_at" in numbers:
        low, high = numbers["ci"]["recall_at"]["1"]
        metrics["recall_at_1"] = Interval(value=numbers["recall_at"]["1"], low=low, high=high)
    return ModelRow.model_validate({"model": name, "note": MADE[name], "metrics": metrics})


def _interval(numbers: Mapping[str, Any], name: str) -> Interval:
    if numbers[name] < 0:
        return Interval(value=None)
    low, high = numbers["ci"][name]
    return Interval(value=numbers[name], low=low, high=high)


def gains_of(evaluated: Mapping[str, Any]) -> dict[str, Interval]:
    """Student minus control by the report's names; paired over the images."""
    gains = evaluated["gains"]
    found = {"AP": ("", "AP"), "AP50": ("", "AP50")}
    found |= {name: (name, "AP") for name in ("head", "tail")}
    found |= {f"{name}50": (name, "AP50") for name in ("head", "tail")}
    return {
        metric: Interval(**gains[group][name])
        for metric, (group, name) in found.items()
        if name in gains.get(group, {})
    }


def examples_of(view_rows: Rows, evidence_rows: Rows, seed: int) -> tuple[Example, ...]:
    """Images with at least one kept box, drawn by the seed: kept and dropped regions of the teacher."""
    chosen = {
        (row["unit"], row["index"]): row for row in by_seed(view_rows, EXAMPLES, seed, with_region=True)
    }
    return tuple(
        _example(row, chosen[name])
        for row in evidence_rows
        if (name := (row["unit"], row["index"])) in chosen
    )


def _example(row: dict[str, Any], view_row: dict[str, Any]) -> Example:
    """Kept boxes are the view's, which a policy may have merged; dropped ones are what else the evidence holds."""
    in_view = {_mark(region) for region in view_row["regions"]}
    dropped = (region for region in row["regions"] if _mark(region) not in in_view)
    return Example(
        image=read_photo_bytes(row),
        media_type="image/jpeg",
        width=row["width"],
        height=row["height"],
        caption=row["caption"],
        boxes=(
            *(_box(row, region, "kept" if is_kept(region) else "ignored") for region in view_row["regions"]),
            *(_box(row, region, "dropped") for region in dropped),
        ),
    )


def _mark(region: Mapping[str, Any]) -> tuple[int, int, float]:
    """What a region keeps on its way from evidence to view."""
    return region["phrase"], region["pass_index"], region["score"]


def _box(row: Mapping[str, Any], region: Mapping[str, Any], became: str) -> ExampleBox:
    return ExampleBox(
        text=row["phrases"][region["phrase"]]["text"],
        box=(region["x0"], region["y0"], region["x1"], region["y1"]),
        score=region["score"],
        kept=became == "kept",
        ignored=became == "ignored",
    )


def curve(places: Places, name: str) -> TrainingCurve:
    """Return the loss that the training logged; the teacher's curve starts with its base model's."""
    steps: list[int] = []
    loss: list[float] = []
    for run in ("base", "teacher") if name == "teacher" else (name,):
        done = steps[-1] if steps else 0
        records = read_metrics(places.run(run))
        steps += [done + record["step"] for record in records]
        loss += [record["loss"] for record in records]
    return TrainingCurve.model_validate({"model": name, "steps": tuple(steps), "loss": tuple(loss)})


def policy_steps(view: Mapping[str, Any]) -> tuple[PolicyStep, ...]:
    """What each rule of the policy left: what it dropped and what it left to ignore are gone from the kept ones."""
    left = view["regions"]["regions_in"]
    steps = []
    dropped, ignored = view["regions"]["dropped"], view["regions"].get("ignored", {})
    for rule in (rule for rule in RULES if rule in dropped or rule in ignored):
        left -= dropped.get(rule, 0) + ignored.get(rule, 0)
        to_ignore = f", {ignored[rule]:,} to ignore" if rule in ignored else ""
        setting = rule.replace("_", " ") + to_ignore
        steps.append(PolicyStep(operation="minus", setting=setting, regions_after=left))
    return tuple(steps)


def next_commands(folder: Path) -> tuple[NextCommand, ...]:
    """What the reader may run next, on what the demo made."""
    view, pictures, audit, job, student = (
        shlex.quote(str(folder / name)) for name in ("view", "pictures", "audit", "job.yaml", "student.yaml")
    )
    return (
        NextCommand(command=f"groundswell inspect {view} --to {pictures}", what="boxes on more images"),
        NextCommand(command=f"groundswell audit serve {audit}", what="review the sample yourself"),
        NextCommand(command=f"groundswell plan {job}", what="what labelling would do, and what is done"),
        NextCommand(command=f"groundswell train {student}", what="the student again: it is already done"),
    )


def summary_of(places: Places, results: Mapping[str, Any]) -> str:
    """The end of the demo on a terminal."""
    from pipelines.cli.shell import table

    rows = []
    for name, numbers in results["evaluate"]["models"].items():
        groups = numbers["groups"]
        cells = [numbers["AP"], groups["head"]["AP"], groups["tail"]["AP"], groups["tail"]["AP50"]]
        rows.append([name, *(_percent(value) for value in [*cells, numbers.get("recall_at", {}).get("1")])])
    audit = results["audit"]["precision"]
    gains = gains_of(results["evaluate"])
    lines = [
        table(rows, ["model", "AP", "AP head", "AP tail", "AP50 tail", "Recall@1"]),
        *(f"student minus control: {sentence(name, gains[name])}" for name in JUDGED if name in gains),
        f"audit: precision {_percent(audit['value'])} [{_percent(audit['low'])}, {_percent(audit['high'])}] "
        f"of {results['audit']['population']} kept boxes, {results['audit']['reviewed']} reviewed",
        f"report: {places.report}",
        "next:",
        *(f"  {item.command}  # {item.what}" for item in next_commands(places.folder)),
    ]
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "-" if value is None or value < 0 else f"{100 * value:.1f}"
