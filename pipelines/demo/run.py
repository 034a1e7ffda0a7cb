"""The demo: the whole loop on the tiny world, each step through the same code as its verb.

Promise: what is printed and drawn is what happened, also when the student loses.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipelines.demo.layout import Places
from pipelines.demo.recipe import Recipe
from pipelines.steps.cache import Journal, code_digest, refuse_foreign
from schemas.errors import ConflictError, GroundswellError, NotFoundError, UnfinishedError
from schemas.progress import ProgressCallback

Say = Callable[[str], None]
ROOT = Path(__file__).resolve().parents[2]
TITLES = {
    "world": "render the tiny world: gold, web shards, held-out scenes",
    "teacher": "train the teacher until it has finished gold",
    "label": "label the web shards on a Ray cluster",
    "compile": "compile the evidence into a view",
    "train": "train the student and its gold-only control, side by side",
    "evaluate": "evaluate all three on held-out scenes",
    "audit": "audit the view against the truth of the tiny world",
    "report": "write the report",
}


@dataclass(frozen=True)
class DemoResult:
    """What the demo found, and where its page is."""

    report: Path
    results: dict[str, Any]
    seconds: dict[str, float]
    summary: str

    def data(self) -> dict[str, Any]:
        """For `--json`."""
        return {"report": str(self.report), "seconds": self.seconds, **self.results}

    def text(self) -> str:
        """The table of models, the audit and what to run next."""
        return self.summary


def run_demo(folder: Path, recipe: Recipe, *, progress: ProgressCallback, say: Say) -> DemoResult:
    """Render, teach, label, compile, train, evaluate, audit, report. Steps that are done are not done again.

    raises: ConflictError for a folder that holds something else
    """
    refuse_foreign(folder)
    places = Places(folder)
    key = {
        "recipe": recipe.model_dump(mode="json"),
        "code": code_digest(ROOT),
        "torch": version("torch"),
        "folder": str(folder.resolve()),
    }
    journal = Journal(folder, key, len(TITLES), say)
    steps = _Steps(places, recipe, progress)
    places.write_configs(recipe)
    results: dict[str, Any] = {}

    def step(name: str, run: Callable[[], dict[str, Any]]) -> None:
        results[name] = journal.step(name, TITLES[name], run, places.made_by(name))

    step("world", steps.render)
    step("teacher", steps.teach)
    step("label", steps.label)
    step("compile", lambda: steps.compile(results["label"]["digest"]))
    step("train", steps.train)
    step("evaluate", steps.evaluate)
    step("audit", steps.audit)
    from pipelines.demo.findings import summary_of, write_findings

    step("report", lambda: write_findings(places, recipe, results, journal))
    return DemoResult(places.report, results, journal.seconds, summary_of(places, results))


class _Steps:
    """One method a step; each returns what the next ones and the report need, as JSON."""

    def __init__(self, places: Places, recipe: Recipe, progress: ProgressCallback) -> None:
        self.places, self.recipe, self.progress = places, recipe, progress

    def render(self) -> dict[str, Any]:
        """Gold with boxes, web shards with captions only, held-out scenes, and the truth kept aside."""
        from pipelines.demo.world.build import build_world

        _forget(self.places.world.folder)
        world, _ = build_world(self.places.world.folder, self.recipe.world, self.progress)
        facts: dict[str, Any] = json.loads(world.manifest.read_text())
        return {**facts, "web_shards": len(world.web_shards)}

    def teach(self) -> dict[str, Any]:
        """Train a tiny GLIP from random weights, then on in the control's prompts and rate."""
        from pipelines.demo.initial_model import write_start
        from pipelines.label.interrupt import stop_training_when_asked
        from student.training.train import train

        _forget(*(self.places.run(name) for name in ("start", "base", "teacher")))
        write_start(self.places.run("start"), self.recipe.world)
        trainings = self.places.trainings(self.recipe)
        with stop_training_when_asked() as stop:
            train(trainings["base"], self.progress, stop)
            return train(trainings["teacher"], self.progress, stop)

    def label(self) -> dict[str, Any]:
        """Evidence, through the engine. What an earlier, equal run committed is not labelled again."""
        from pipelines.label.run import label

        forget_damaged(self.places.evidence)
        evidence = self.places.evidence
        summary = label(self.places.job(self.recipe), progress=self.progress)
        return refuse_rejected(whole(summary, evidence), evidence)

    def compile(self, evidence_digest: str) -> dict[str, Any]:
        """A view of what `label` made, under the recipe's policy."""
        from pipelines.compile.run import compile_view

        _forget(Path(self.places.view))
        report = compile_view(
            self.places.evidence, self.recipe.policy, self.places.view, progress=self.progress
        )
        if report.snapshot_digest != evidence_digest:
            raise ConflictError(
                f"{self.places.evidence} now publishes {report.snapshot_digest}, the demo labelled {evidence_digest}: "
                f"another job wrote there; remove {self.places.evidence} and run the demo again"
            )
        print_kept(report.text())
        return report.data()

    def train(self) -> dict[str, Any]:
        """Student and control: the same start, steps, batch, augmentation and prompt mix."""
        from pipelines.demo.parallel_train import train_together

        names = ("student", "control")
        outs = {name: self.places.run(name) for name in names}
        _forget(*outs.values())
        configs = {name: self.places.config(name) for name in names}
        train_together(configs, outs, self.recipe.student_steps, self.progress)
        return {name: json.loads((outs[name] / "report.json").read_text()) for name in names}

    def evaluate(self) -> dict[str, Any]:
        """COCO numbers and phrase recall of all three, and the paired difference of student and control."""
        from pipelines.demo.compare import evaluate_models

        return evaluate_models(self.places, self.progress)

    def audit(self) -> dict[str, Any]:
        """A seeded, stratified sample, reviewed by a program that knows the truth, recorded as such."""
        from pipelines.audit.commands import open_audit, report_audit, run_oracle_audit
        from pipelines.demo.oracle import GROUPS, truth_of_web

        _forget(self.places.audit)
        recipe, folder = self.recipe, self.places.audit
        open_audit(self.places.view, folder, n=recipe.audit_regions, seed=recipe.seed, groups=GROUPS)
        run_oracle_audit(folder, truth_of_web(self.places.world.web_truth))
        return report_audit(folder, view=self.places.view).data()


def forget_damaged(evidence: str) -> None:
    """Remove evidence that does not hold what it recorded: `label` believes its commits and would not redo them."""
    from engine.ledger.verify import verify

    try:
        verify(evidence)
    except (
        ConflictError,
        NotFoundError,
    ):  # without a snapshot nothing was labelled: a run publishes before it begins
        _forget(Path(evidence))


def whole(summary: dict[str, Any], evidence: str) -> dict[str, Any]:
    """What a labelling run made, without the snapshot's number, which says how often the run was cut short.

    Raises GroundswellError for a run with holes: the demo's numbers would be of less.
    """
    units = summary["units"]
    if units["committed"] != units["planned"]:
        raise GroundswellError(
            f"{units['committed']} of {units['planned']} units are labelled, {units['failed']} failed: "
            f"`groundswell status {evidence}` names them; run the demo again to try them once more"
        )
    return {name: value for name, value in summary.items() if name != "snapshot"}


def refuse_rejected(summary: dict[str, Any], evidence: str) -> dict[str, Any]:
    """Return the summary of a labelling run. Raises UnfinishedError for one that rejected too many samples."""
    from pipelines.label.rejection_limit import judge_summary

    if text := judge_summary(summary).text():
        raise UnfinishedError(f"{evidence}: {text}")
    return summary


def print_kept(text: str) -> None:
    """What the policy kept, on stderr: stdout is for the result."""
    import sys

    print(text, file=sys.stderr)


def _forget(*folders: Path) -> None:
    """Remove what an earlier run with another recipe left."""
    import shutil

    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
