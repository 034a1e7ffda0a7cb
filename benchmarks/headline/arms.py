"""The arms of one seed: which cells make each of them, and what they share.

Every arm starts from the same teacher, with the same steps, batch and augmentation, unless its name says otherwise.
An arm is the cell that evaluates its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.headline.cells import Cell
from pipelines.demo.recipe import Recipe
from pipelines.demo.world.settings import WorldSettings
from student.settings.streams import PromptMix
from student.settings.train import TrainSettings

# The worlds beside the base: fields of WorldSettings, which change the web alone.
WORLDS: dict[str, dict[str, Any]] = {
    "base": {},
    "style": {"web_style": "poster"},
    "noise": {
        "web_tail_share": 0.15,
        "web_noun_power": 1.0,
        "web_caption_missing": 0.3,
        "web_caption_wrong": 0.15,
        "web_caption_extra": 0.3,
    },
}
LABELING = {"batch_size": 16, "unit_samples": 150, "pipeline": "bundled"}
_START, _OUT = Path("start"), Path("out")


class Arms:
    """The cells of one seed of one world. note: what titles say of the recipe, where it is one of several."""

    def __init__(self, recipe: Recipe, seed: int, world: str = "base", note: str = "") -> None:
        self.recipe = recipe.model_copy(update={"seed": seed})
        self.seed, self.world = seed, world
        self.note = f" ({note})" if note else ""

    def title(self, what: str) -> str:
        """Return a cell's title: seed, world and what it is."""
        return f"seed {self.seed} {what}" if self.world == "base" else f"seed {self.seed} {self.world} {what}"

    def _cell(self, kind: str, what: str, settings: Mapping[str, Any], **inputs: Cell) -> Cell:
        return Cell(kind, self.title(what), settings, inputs)

    # ---- what all arms share

    @cached_property
    def gold(self) -> Cell:
        """Gold and held-out scenes: the same in every world of a seed."""
        settings = self.recipe.world.model_copy(update={"web_images": 0})
        return self._cell("gold", "gold and test", settings.model_dump(mode="json"))

    @cached_property
    def web(self) -> Cell:
        """The web of this world."""
        settings = {**self.recipe.world.model_dump(), **WORLDS[self.world]}
        return self._cell("web", "web", WorldSettings.model_validate(settings).model_dump(mode="json"))

    def change_captions(self, captions: str) -> Cell:
        """Return the web with other captions."""
        settings = {"captions": captions, "seed": self.seed}
        return self._cell("recaptioned", f"web, captions {captions}", settings, web=self.web)

    def start(self, fusion: bool = True) -> Cell:
        """Random weights."""
        world = WorldSettings(seed=self.seed, side_px=self.recipe.world.side_px)
        settings = {"world": world.model_dump(mode="json"), "fusion": fusion}
        return self._cell("start", "start", settings)

    def teacher(self, fusion: bool = True) -> Cell:
        """Gold alone, from random weights."""
        return self.train("teacher", self.recipe.teacher(_START, "gold", _OUT), start=self.start(fusion))

    def evidence(self, teacher: Cell, web: Cell | None = None, what: str = "labels") -> Cell:
        """Return what a teacher finds on a web."""
        return self._cell("evidence", what, LABELING, web=web or self.web, teacher=teacher)

    def view(self, evidence: Cell, what: str = "view", **policy: Any) -> Cell:
        """Return the evidence under the recipe's policy with some of its fields changed.

        Removed regions are negatives (`ignore_score: null`) unless an arm says otherwise: so it was measured.
        """
        values = {**self.recipe.policy.model_dump(), "ignore_score": None, **policy}
        chosen = type(self.recipe.policy).model_validate(values)
        return self._cell("view", what, chosen.identity(), evidence=evidence)

    def changed_view(self, boxes: str) -> Cell:
        """Return the student's view with other boxes."""
        settings = {"boxes": boxes}
        return self._cell("changed_view", f"view, {boxes}", settings, view=self.plain_view, web=self.web)

    @cached_property
    def plain_view(self) -> Cell:
        """The student's view."""
        return self.view(self.evidence(self.teacher()))

    # ---- training and evaluation

    def train(self, what: str, run: TrainSettings, start: Cell, **streams: Cell) -> Cell:
        """Return a training. Its settings have `gold`, `view` and `start` in the place of paths."""
        settings = run.model_dump(mode="json", exclude={"out"})
        return self._cell("train", what, settings, start=start, **({"gold": self.gold} | streams))

    def evaluate(self, model: Cell, what: str) -> Cell:
        """Return the evaluation of a model on the held-out scenes."""
        return self._cell("evaluate", f"{what} evaluated", {"phrases": True}, model=model, test=self.gold)

    def model_of(self, arm: str, recipe: Recipe, start: Cell, view: Cell | None) -> Cell:
        """Return a training with the recipe's plain, control or student settings."""
        title = arm + self.note
        if view is not None:
            return self.train(title, recipe.student(_START, "gold", "view", _OUT), start, view=view)
        settings = recipe.plain if arm.startswith("plain") else recipe.control
        return self.train(title, settings(_START, "gold", _OUT), start)

    def student_on(self, arm: str, view: Cell, **changes: Any) -> Cell:
        """Return a student that starts from the teacher, with some fields of the recipe changed."""
        recipe = self.recipe.model_copy(update=changes)
        return self.model_of(arm, recipe, self.teacher(), view)

    def arm(self, name: str) -> Cell:
        """Return the evaluation of an arm by name. Raises KeyError for an unknown name."""
        from benchmarks.headline.rows import MODELS

        return self.evaluate(MODELS[name](self), name + self.note)

    @cached_property
    def mixes(self) -> dict[str, PromptMix]:
        """The web's prompt mixes that ablations use."""
        return {"captions": PromptMix(detection=0.0, phrase_list=0.0, caption=1.0)}
