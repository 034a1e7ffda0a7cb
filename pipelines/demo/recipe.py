"""The demo's recipe: frozen settings of teacher, student and control, from one seed.

It was chosen on seed 0 only (`docs/tiny_world.md`). The teacher first trains on gold to the end: a base model with the
teacher's prompts, then with the control's own prompts and learning rate. That model labels, and student and control
start from it. They have the same streams, down to the prompt kind of each slot. The only difference is that the control
has gold where the student has pseudo-labeled web images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from pipelines.compile.policy import Policy
from pipelines.demo.world.lexicon import COLOURS, TEXTURES
from pipelines.demo.world.settings import WorldSettings
from schemas.settings import Settings
from student.settings.streams import PromptMix, StreamSettings
from student.settings.train import HardNegatives, TrainSettings

HARD_NEGATIVES = HardNegatives(attributes=(tuple(COLOURS), TEXTURES))
FINISH_SEED_OFFSET = 1_000_000
"""Added to the seed for the teacher's last steps, so that student and control do not see their batches again."""


class Recipe(Settings):
    """All settings of the demo."""

    seed: int = Field(0, ge=0, description="one seed for world, start weights, order, prompts and audit")
    teacher_steps: int = Field(2000, ge=1)
    teacher_learning_rate: float = Field(1.5e-3, gt=0)
    finish_steps: int = Field(
        1000,
        ge=1,
        description="the teacher's last steps, in the control's prompts and rate, before it labels",
    )
    student_steps: int = Field(1000, ge=1)
    student_learning_rate: float = Field(1e-3, gt=0)
    batch_size: int = Field(8, ge=1)
    teacher_prompts: PromptMix = PromptMix(detection=0.3, phrase_list=0.5, caption=0.2)
    gold_prompts: PromptMix | None = Field(
        None, description="prompts of the gold slots of student and control; null: the teacher's prompts"
    )
    pseudo_share: float = Field(0.7, gt=0, lt=1, description="share of the student's slots with web images")
    pseudo_until: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of the student's steps in which they are used; the last steps use gold alone",
    )
    pseudo_prompts: PromptMix = PromptMix(detection=0.75, phrase_list=0.0, caption=0.25)
    pseudo_negatives_max: int = Field(15, ge=0)
    pseudo_weight: float = Field(1.0, ge=0, description="factor for the weight of every pseudo box")
    control_repeat_threshold: float = Field(
        0.1,
        ge=0,
        le=1,
        description="gold images with a rare noun are repeated for the control, about 5 times here",
    )
    control_learning_rate: float | None = Field(None, gt=0, description="null: the student's")
    control_prompts: PromptMix | None = Field(
        None, description="prompts in place of the web images; null: the student's"
    )
    control_negatives_max: int | None = Field(
        None, ge=0, description="in place of the web images; null: the student's"
    )

    policy: Policy = Policy(
        nms_iou=0.5,
        candidate_score=0.2,
        max_candidates_per_phrase=3,
        one_to_one=True,
        min_score=0.4,
        merge_iou=0.75,
    )

    audit_regions: int = Field(200, ge=1, description="regions in the audit's sample")
    world_size: WorldSettings = Field(WorldSettings(), description="the world; its seed is the recipe's")

    @classmethod
    def quick(cls, seed: int = 0) -> Recipe:
        """Return the same steps on a very small world. Its numbers mean nothing; it checks the installation."""
        world = WorldSettings(gold_images=40, web_images=60, web_shard_images=30, test_images=16)
        policy = cls().policy.model_copy(update={"min_score": 0.3})
        return cls(
            seed=seed,
            teacher_steps=60,
            finish_steps=20,
            student_steps=20,
            audit_regions=40,
            world_size=world,
            policy=policy,
        )

    @property
    def world(self) -> WorldSettings:
        """The world of this seed."""
        return self.world_size.model_copy(update={"seed": self.seed})

    def teacher(self, start: Path, gold: str, out: Path) -> TrainSettings:
        """Return the settings of the base model: from random weights, on gold alone."""
        stream = StreamSettings(url=gold, share=1.0, prompts=self.teacher_prompts)
        return self._run(start, (stream,), out, self.teacher_steps, self.teacher_learning_rate)

    def labeling_teacher(self, base: Path, gold: str, out: Path) -> TrainSettings:
        """Return the settings of the teacher that labels: the base model, trained further like the control."""
        changes = {"steps": self.finish_steps, "seed": self.seed + FINISH_SEED_OFFSET}
        return self.control(base, gold, out).model_copy(update=changes)

    def student(self, teacher: Path, gold: str, view: str, out: Path) -> TrainSettings:
        """Return the settings of the student: from the teacher, on gold and the pseudo-labeled view."""
        web = self._web_slots(view).model_copy(update={"weight": self.pseudo_weight})
        return self._second(teacher, (self._gold_slots(gold), web), out, self.student_learning_rate)

    def control(self, teacher: Path, gold: str, out: Path) -> TrainSettings:
        """Return the settings of the control: the student's run with gold in every slot, rare gold repeated."""
        changes: dict[str, Any] = {"repeat_threshold": self.control_repeat_threshold}
        own = {"prompts": self.control_prompts, "negatives_max": self.control_negatives_max}
        other = changes | {name: value for name, value in own.items() if value is not None}
        streams = (
            self._gold_slots(gold).model_copy(update=changes),
            self._web_slots(gold).model_copy(update=other),
        )
        return self._second(teacher, streams, out, self.control_learning_rate or self.student_learning_rate)

    def plain(self, teacher: Path, gold: str, out: Path) -> TrainSettings:
        """Return the settings of the plain control: the teacher's own run, continued."""
        stream = StreamSettings(url=gold, share=1.0, prompts=self.teacher_prompts)
        return self._run(teacher, (stream,), out, self.student_steps, self.student_learning_rate)

    def _gold_slots(self, gold: str) -> StreamSettings:
        prompts = self.gold_prompts or self.teacher_prompts
        return StreamSettings(url=gold, share=1 - self._web_share, prompts=prompts)

    def _web_slots(self, url: str) -> StreamSettings:
        return StreamSettings(
            url=url,
            share=self._web_share,
            max_samples=self._web_samples,
            prompts=self.pseudo_prompts,
            negatives_max=self.pseudo_negatives_max,
        )

    @property
    def _web_share(self) -> float:
        """Share of web slots in the steps with web images."""
        return self.pseudo_share / self.pseudo_until

    @property
    def _web_samples(self) -> int | None:
        """Number of web samples after which only gold follows; None: there are web images until the end."""
        slots = self.student_steps * self.batch_size
        return None if self.pseudo_until == 1 else round(self.pseudo_share * slots)

    @model_validator(mode="after")
    def _check_gold_share(self) -> Recipe:
        if self._web_share >= 1:
            raise ValueError(
                f"pseudo_until ({self.pseudo_until:g}) must be above pseudo_share ({self.pseudo_share:g}), because "
                "every part of the run needs gold"
            )
        return self

    def _second(
        self, teacher: Path, streams: tuple[StreamSettings, ...], out: Path, learning_rate: float
    ) -> TrainSettings:
        return self._run(teacher, streams, out, self.student_steps, learning_rate)

    def _run(
        self, start: Path, streams: tuple[StreamSettings, ...], out: Path, steps: int, learning_rate: float
    ) -> TrainSettings:
        return TrainSettings(
            start=str(start),
            out=str(out),
            streams=streams,
            hard_negatives=HARD_NEGATIVES,
            steps=steps,
            batch_size=self.batch_size,
            learning_rate=learning_rate,
            seed=self.seed,
        )
