"""Run the demo: the whole loop on the tiny world. Each step uses the same code as its verb.

The output shows what was measured, even if the student is worse than its control.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import cast

from pipelines.demo.configs import make_job, make_trainings, write_configs
from pipelines.demo.layout import DemoLayout
from pipelines.demo.recipe import Recipe
from pipelines.demo.results import Comparison, DemoResults, WorldResult
from pipelines.label.summary import LabelSummary
from pipelines.steps.cache import Result, StepCache, compute_code_digest, refuse_foreign
from pipelines.steps.outputs import AuditOutput, CompileOutput, TrainedPair, TrainOutput
from pipelines.terminal.output import print_message
from schemas.errors import ConflictError, GroundswellError, NotFoundError, UnfinishedError
from schemas.progress import ProgressCallback

Say = Callable[[str], None]
ROOT = Path(__file__).resolve().parents[2]
TITLES = {
    "world": "render the tiny world: gold, web shards, held-out scenes",
    "teacher": "train the teacher on gold",
    "label": "label the web shards on a Ray cluster",
    "compile": "compile the evidence into a view",
    "train": "train the student and its gold-only control in parallel",
    "evaluate": "evaluate all three on held-out scenes",
    "audit": "audit the view against the truth of the tiny world",
    "report": "write the report",
}


@dataclass(frozen=True)
class DemoResult:
    """The results of the demo, and the path of its page."""

    report: Path
    results: DemoResults
    seconds: dict[str, float]
    summary: str

    def data(self) -> dict[str, object]:
        """Return the results as JSON."""
        return {"report": str(self.report), "seconds": self.seconds, **self.results}

    def text(self) -> str:
        """Return the table of models, the audit and commands to run next."""
        return self.summary


def run_demo(folder: Path, recipe: Recipe, *, progress: ProgressCallback, say: Say) -> DemoResult:
    """Run all steps; finished ones are not repeated. Raises ConflictError for a folder with other content."""
    refuse_foreign(folder)
    places = DemoLayout(folder)
    key = {
        "recipe": recipe.model_dump(mode="json"),
        "code": compute_code_digest(ROOT),
        "torch": version("torch"),
        "folder": str(folder.resolve()),
    }
    cache = StepCache(folder, key, len(TITLES), say)
    steps = _DemoSteps(places, recipe, progress)
    write_configs(places, recipe)
    results: DemoResults = {}

    def run_step(name: str, run: Callable[[], Result]) -> Result:
        return cache.run_step(name, TITLES[name], run, places.outputs_of(name))

    results["world"] = run_step("world", steps.render)
    results["teacher"] = run_step("teacher", steps.teach)
    results["label"] = run_step("label", steps.label)
    results["compile"] = run_step("compile", lambda: steps.compile(results["label"]["digest"]))
    results["train"] = run_step("train", steps.train)
    results["evaluate"] = run_step("evaluate", steps.evaluate)
    results["audit"] = run_step("audit", steps.audit)
    from pipelines.demo.findings import format_summary, write_findings

    results["report"] = run_step("report", lambda: write_findings(places, recipe, results, cache))
    return DemoResult(places.report, results, cache.seconds, format_summary(places, results))


class _DemoSteps:
    """The steps, one method each. Each returns JSON for later steps and the report."""

    def __init__(self, places: DemoLayout, recipe: Recipe, progress: ProgressCallback) -> None:
        self.places, self.recipe, self.progress = places, recipe, progress

    def render(self) -> WorldResult:
        """Render gold with boxes, web shards with captions only, held-out scenes, and (separately) the truth."""
        from pipelines.demo.world.build import build_world

        _delete(self.places.world.folder)
        world, _ = build_world(self.places.world.folder, self.recipe.world, self.progress)
        facts = json.loads(world.manifest.read_text())
        return cast(WorldResult, {**facts, "web_shards": len(world.web_shards)})

    def teach(self) -> TrainOutput:
        """Train a tiny GLIP from random weights, then continue with the control's prompts and learning rate."""
        from pipelines.demo.initial_model import write_start
        from pipelines.terminal.interrupt import drain_training_on_signal
        from student.training.train import train

        _delete(*(self.places.training(name) for name in ("start", "base", "teacher")))
        write_start(self.places.training("start"), self.recipe.world)
        trainings = make_trainings(self.places, self.recipe)
        with drain_training_on_signal() as stop:
            train(trainings["base"], self.progress, stop)
            return cast(TrainOutput, train(trainings["teacher"], self.progress, stop))

    def label(self) -> LabelSummary:
        """Label the web shards with the engine. Units that an earlier, equal run committed are not labeled again."""
        from pipelines.label.run import label

        delete_damaged(self.places.evidence)
        evidence = self.places.evidence
        summary = label(make_job(self.places), progress=self.progress)
        return refuse_rejected(check_complete(summary, evidence), evidence)

    def compile(self, evidence_digest: str) -> CompileOutput:
        """Compile the evidence into a view, under the recipe's policy."""
        from pipelines.compile.run import compile_view

        _delete(Path(self.places.view))
        report = compile_view(
            self.places.evidence, self.recipe.policy, self.places.view, progress=self.progress
        )
        if report.snapshot_digest != evidence_digest:
            raise ConflictError(
                f"{self.places.evidence} has the digest {report.snapshot_digest}, expected {evidence_digest}, because "
                f"another job wrote there; delete {self.places.evidence} and run the demo again"
            )
        print_message(report.text())
        return cast(CompileOutput, report.data())

    def train(self) -> TrainedPair:
        """Train student and control with the same start, steps, batch, augmentation and prompt mix."""
        from pipelines.demo.parallel_train import train_in_parallel

        names = ("student", "control")
        outs = {name: self.places.training(name) for name in names}
        _delete(*outs.values())
        configs = {name: self.places.config(name) for name in names}
        train_in_parallel(configs, outs, self.recipe.student_steps, self.progress)
        reports = {name: json.loads((outs[name] / "report.json").read_text()) for name in names}
        return cast(TrainedPair, reports)

    def evaluate(self) -> Comparison:
        """Compute COCO numbers and phrase recall of all three models, and the student's paired gain."""
        from pipelines.demo.compare import evaluate_models

        return evaluate_models(self.places, self.progress)

    def audit(self) -> AuditOutput:
        """Draw a seeded, stratified sample, and review it with a program that knows the truth (recorded as such)."""
        from pipelines.audit.commands import open_audit, report_audit, run_oracle_audit
        from pipelines.demo.oracle import GROUPS, load_web_truth

        _delete(self.places.audit)
        recipe, folder = self.recipe, self.places.audit
        open_audit(self.places.view, folder, n=recipe.audit_regions, seed=recipe.seed, groups=GROUPS)
        run_oracle_audit(folder, load_web_truth(self.places.world.web_truth))
        return cast(AuditOutput, report_audit(folder, view=self.places.view).data())


def delete_damaged(evidence: str) -> None:
    """Delete evidence that fails verification. `label` trusts commits and would not redo them."""
    from engine.ledger.verify import verify

    try:
        verify(evidence)
    except (ConflictError, NotFoundError):
        # without a snapshot nothing was labeled, since a run publishes one before it begins
        _delete(Path(evidence))


def check_complete(summary: LabelSummary, evidence: str) -> LabelSummary:
    """Return the summary without the snapshot's number, which counts interruptions of the run.

    Raises GroundswellError for a run with failed or pending units, because the demo's numbers would be incomplete.
    """
    units = summary["units"]
    if units["committed"] != units["planned"]:
        raise GroundswellError(
            f"only {units['committed']} of {units['planned']} units are labeled, {units['failed']} failed; list them "
            f"with `groundswell status {evidence}`, and run the demo again to retry them"
        )
    return cast(LabelSummary, {name: value for name, value in summary.items() if name != "snapshot"})


def refuse_rejected(summary: LabelSummary, evidence: str) -> LabelSummary:
    """Return the summary of a labeling run. Raises UnfinishedError for one that rejected too many samples."""
    from pipelines.label.rejection_limit import judge_summary

    if text := judge_summary(summary).text():
        raise UnfinishedError(f"{evidence}: {text}")
    return summary


def _delete(*folders: Path) -> None:
    """Delete what an earlier run with another recipe left."""
    import shutil

    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
