"""A new small task for a trained model: find the six tail nouns after 60 boxed scenes, by four ways of tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmarks.headline.arms import Arms
from benchmarks.headline.cells import Cell
from benchmarks.headline.rows import MODELS
from pipelines.demo.recipe import Recipe
from pipelines.demo.world.lexicon import TAIL_NOUNS
from pipelines.demo.world.settings import WorldSettings
from schemas.spans import PROMPT_SEPARATOR
from student.settings.streams import PromptMix, StreamSettings
from student.settings.train import TrainSettings

Way = Literal["zero_shot", "prompt", "linear", "full"]
WAYS: tuple[Way, ...] = ("zero_shot", "prompt", "linear", "full")
STARTS = ("teacher", "student")
STEPS, WARMUP_STEPS = 200, 20
# Of the prototype; none was tuned here.
LEARNING_RATES = {"prompt": 0.05, "linear": 3e-3, "full": 5e-4}
_SEED_SHIFT = 1_000_000


@dataclass(frozen=True)
class Task:
    """One seed's task and the models that are tuned on it."""

    arms: Arms

    def data(self) -> Cell:
        """60 scenes to learn from and 200 to test on, with tail nouns alone."""
        size = self.arms.recipe.world
        settings = WorldSettings(
            seed=size.seed + _SEED_SHIFT,
            gold_images=min(60, size.gold_images),
            test_images=min(200, size.test_images),
            web_images=0,
            test_tail_share=1.0,
        )
        return Cell("task", self.arms.title("new task"), settings.model_dump(mode="json"))

    def arm(self, start: str, way: Way) -> Cell:
        """Return the evaluation on the task of a model tuned in one way."""
        model, what = MODELS[start](self.arms), f"task, {start}, {way}"
        if way != "zero_shot":
            settings = tuning(self.arms.recipe, way).model_dump(mode="json", exclude={"out"})
            inputs = {"start": model, "gold": self.data()}
            model = Cell("train", self.arms.title(what), settings, inputs)
        settings = {"phrases": False}
        return Cell(
            "evaluate",
            self.arms.title(f"{what} evaluated"),
            settings,
            {"model": model, "test": self.data()},
        )


def tuning(recipe: Recipe, way: str) -> TrainSettings:
    """Return detection prompts of only the task's nouns."""
    mix = PromptMix(detection=1.0, phrase_list=0.0, caption=0.0)
    return TrainSettings.model_validate(
        {
            "start": "start",
            "out": "out",
            "streams": [StreamSettings(url="gold", share=1.0, prompts=mix).model_dump()],
            "tuning": way,
            "tuning_prompt": PROMPT_SEPARATOR.join(TAIL_NOUNS) if way == "prompt" else None,
            "steps": min(STEPS, recipe.student_steps),
            "warmup_steps": WARMUP_STEPS,
            "batch_size": recipe.batch_size,
            "learning_rate": LEARNING_RATES[way],
            "seed": recipe.seed,
        }
    )
