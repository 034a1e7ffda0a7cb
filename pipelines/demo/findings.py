"""Collect the results of the demo's steps into the report's data. Nothing new is measured here."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any, cast

from engine.views import open_view
from pipelines.compile.rules import rule_meanings
from pipelines.demo.layout import DemoLayout
from pipelines.demo.oracle import compute_precision_lines
from pipelines.demo.recipe import Recipe
from pipelines.demo.results import Comparison, DemoResults, ReportPath
from pipelines.labels.evidence import open_evidence
from pipelines.labels.fates import is_kept
from pipelines.labels.inspect import draw_rows
from pipelines.labels.photo import read_photo_bytes
from pipelines.reporting.data import (
    ExampleBox,
    Histogram,
    Interval,
    LabeledExample,
    LoopNumbers,
    ModelRow,
    NextCommand,
    PolicyStep,
    ReportData,
    Timing,
    TrainingCurve,
)
from pipelines.reporting.page import write_report
from pipelines.reporting.verdict import JUDGED, describe_gain
from pipelines.steps.cache import StepCache
from pipelines.steps.outputs import CompileOutput
from pipelines.terminal.table import format_table
from schemas.rows import EvidenceRow, RegionRow, ViewRow
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


def write_findings(places: DemoLayout, recipe: Recipe, results: DemoResults, cache: StepCache) -> ReportPath:
    """Write report.html; return its path as the step's result."""
    write_report(build_report(places, recipe, results, cache), places.report)
    return {"path": str(places.report)}


def build_report(places: DemoLayout, recipe: Recipe, results: DemoResults, cache: StepCache) -> ReportData:
    """Build all data of the page."""
    evaluated, view = results["evaluate"], results["compile"]
    evidence = open_evidence(places.evidence)
    return ReportData(
        title="Groundswell demo: the tiny world",
        seed=recipe.seed,
        loop=count_loop(results),
        models=tuple(make_model_row(name, numbers) for name, numbers in evaluated["models"].items()),
        gains=read_gains(evaluated),
        examples=pick_examples(open_view(places.view).rows(), evidence.rows(), recipe.seed),
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
        thresholds=compute_precision_lines(evidence.rows(), places.world.web_truth),
        curves=tuple(read_curve(places, name) for name in MADE),
        audit=results["audit"],
        decoys=view.get("decoys"),
        policy=list_policy_steps(view),
        timings=tuple(
            Timing(step=text, seconds=cache.seconds[name], cached=name in cache.cached)
            for name, text in STEP_NAMES.items()
        ),
        next_commands=list_next_commands(places),
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


def count_loop(results: DemoResults) -> LoopNumbers:
    """Count what passed each stage of the loop."""
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


def make_model_row(name: str, numbers: Mapping[str, Any]) -> ModelRow:
    """Return one model's numbers. COCO's -1 becomes None."""
    groups = numbers["groups"]
    metrics = {
        "AP": _read_interval(numbers, "AP"),
        "AP50": _read_interval(numbers, "AP50"),
        "head": _read_interval(groups["head"], "AP"),
        "tail": _read_interval(groups["tail"], "AP"),
        "head50": _read_interval(groups["head"], "AP50"),
        "tail50": _read_interval(groups["tail"], "AP50"),
    }
    if "recall_at" in numbers:
        low, high = numbers["ci"]["recall_at"]["1"]
        metrics["recall_at_1"] = Interval(value=numbers["recall_at"]["1"], low=low, high=high)
    return ModelRow.model_validate({"model": name, "note": MADE[name], "metrics": metrics})


def _read_interval(numbers: Mapping[str, Any], name: str) -> Interval:
    if numbers[name] < 0:
        return Interval(value=None)
    low, high = numbers["ci"][name]
    return Interval(value=numbers[name], low=low, high=high)


def read_gains(evaluated: Comparison) -> dict[str, Interval]:
    """Return student minus control by the report's names, paired over images."""
    gains = evaluated["gains"]
    found = {"AP": ("", "AP"), "AP50": ("", "AP50")}
    found |= {name: (name, "AP") for name in ("head", "tail")}
    found |= {f"{name}50": (name, "AP50") for name in ("head", "tail")}
    return {
        metric: Interval(**gains[group][name])
        for metric, (group, name) in found.items()
        if name in gains.get(group, {})
    }


def pick_examples(
    view_rows: Iterable[ViewRow], evidence_rows: Iterable[EvidenceRow], seed: int
) -> tuple[LabeledExample, ...]:
    """Pick images with at least one kept box by the seed, with the teacher's kept and dropped regions."""
    chosen = {
        (row["unit"], row["index"]): row for row in draw_rows(view_rows, EXAMPLES, seed, with_region=True)
    }
    return tuple(
        _make_example(row, cast(ViewRow, chosen[name]))
        for row in evidence_rows
        if (name := (row["unit"], row["index"])) in chosen
    )


def _make_example(row: EvidenceRow, view_row: ViewRow) -> LabeledExample:
    """Make an example. Kept boxes are the view's, which may be merged. Dropped ones are the rest of the evidence."""
    in_view = {_identify(region) for region in view_row["regions"]}
    dropped = (region for region in row["regions"] if _identify(region) not in in_view)
    return LabeledExample(
        image=read_photo_bytes(row),
        media_type="image/jpeg",
        width=row["width"],
        height=row["height"],
        caption=row["caption"],
        boxes=(
            *(
                _make_box(row, region, "kept" if is_kept(region) else "ignored")
                for region in view_row["regions"]
            ),
            *(_make_box(row, region, "dropped") for region in dropped),
        ),
    )


def _identify(region: RegionRow) -> tuple[int, int, float]:
    """Return what is the same for a region in evidence and in a view."""
    return region["phrase"], region["pass_index"], region["score"]


def _make_box(row: EvidenceRow, region: RegionRow, fate: str) -> ExampleBox:
    return ExampleBox(
        text=row["phrases"][region["phrase"]]["text"],
        box=(region["x0"], region["y0"], region["x1"], region["y1"]),
        score=region["score"],
        kept=fate == "kept",
        ignored=fate == "ignored",
    )


def read_curve(places: DemoLayout, name: str) -> TrainingCurve:
    """Read the loss that a training logged. The teacher's curve starts with that of its base model."""
    steps: list[int] = []
    loss: list[float] = []
    for run in ("base", "teacher") if name == "teacher" else (name,):
        done = steps[-1] if steps else 0
        records = read_metrics(places.training(run))
        steps += [done + record["step"] for record in records]
        loss += [record["loss"] for record in records]
    return TrainingCurve.model_validate({"model": name, "steps": tuple(steps), "loss": tuple(loss)})


def list_policy_steps(view: CompileOutput) -> tuple[PolicyStep, ...]:
    """Return how many kept regions each rule of the policy left, after those that it dropped or ignored."""
    left = view["regions"]["regions_in"]
    steps = []
    dropped, ignored = view["regions"]["dropped"], view["regions"].get("ignored", {})
    for rule in (rule for rule in rule_meanings() if rule in dropped or rule in ignored):
        left -= dropped.get(rule, 0) + ignored.get(rule, 0)
        to_ignore = f", {ignored[rule]:,} to ignore" if rule in ignored else ""
        setting = rule.replace("_", " ") + to_ignore
        steps.append(PolicyStep(operation="minus", setting=setting, regions_after=left))
    return tuple(steps)


def list_next_commands(places: DemoLayout) -> tuple[NextCommand, ...]:
    """Return commands that the reader may run next on the demo's files."""
    paths = (
        places.view,
        places.folder / "pictures",
        places.audit,
        places.config("job"),
        places.config("student"),
    )
    view, pictures, audit, job, student = (shlex.quote(str(path)) for path in paths)
    return (
        NextCommand(command=f"groundswell inspect {view} --to {pictures}", what="boxes on more images"),
        NextCommand(command=f"groundswell audit serve {audit}", what="review the sample yourself"),
        NextCommand(command=f"groundswell plan {job}", what="what labeling would do, and what is done"),
        NextCommand(command=f"groundswell train {student}", what="train the student again (already done)"),
    )


def format_summary(places: DemoLayout, results: DemoResults) -> str:
    """Format the results for a terminal."""
    rows = []
    for name, numbers in results["evaluate"]["models"].items():
        groups = numbers["groups"]
        cells = [numbers["AP"], groups["head"]["AP"], groups["tail"]["AP"], groups["tail"]["AP50"]]
        rows.append([name, *(_percent(value) for value in [*cells, numbers.get("recall_at", {}).get("1")])])
    audit = results["audit"]["precision"]
    gains = read_gains(results["evaluate"])
    lines = [
        format_table(rows, ["model", "AP", "AP head", "AP tail", "AP50 tail", "Recall@1"]),
        *(f"student minus control: {describe_gain(name, gains[name])}" for name in JUDGED if name in gains),
        f"audit: precision {_percent(audit['value'])} [{_percent(audit['low'])}, {_percent(audit['high'])}] "
        f"of {results['audit']['population']} kept boxes, {results['audit']['reviewed']} reviewed",
        f"report: {places.report}",
        "next:",
        *(f"  {item.command}  # {item.what}" for item in list_next_commands(places)),
    ]
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "-" if value is None or value < 0 else f"{100 * value:.1f}"
