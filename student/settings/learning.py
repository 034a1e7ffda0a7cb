"""Settings of the optimizer step: batch, schedule, optimizer, freezing, random layers, and recipes that set them.

A recipe is a set of defaults. A value in the configuration overrides the recipe. The resolved settings show every
value. Imports no heavy library.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from schemas.settings import Settings

RecipeValue = bool | int | float | str | tuple[float, float]

# GLIP's authors: configs/pretrain of microsoft/GLIP at 9dda955, Swin-T with gold and Swin-L. Their optimizer takes
# torch's betas. A parameter is a bias when its name contains "bias", so the position bias tables are biases too.
_AUTHORS: dict[str, RecipeValue] = {
    "batch_size": 64,
    "learning_rate": 1e-4,
    "text_rate": 0.1,
    "bias_rate": 2.0,
    "no_decay": "biases",
    "betas": (0.9, 0.999),
    "clip_norm": 1.0,
    "schedule": "multistep",
    "warmup_steps": 2000,
    "warmup_start": 0.001,
    "freeze_batch_norm": True,
    "dropout": 0.1,
    "dropblock": 0.3,
}
Beta = Annotated[float, Field(ge=0, lt=1)]
RECIPES: dict[str, dict[str, RecipeValue]] = {
    "plain": {},
    "glip": {
        **_AUTHORS,
        "weight_decay": 1e-4,
        "ema_decay": 0.999,
        "precision": "bf16",
        "drop_path": 0.2,
    },
    "glip_l": {
        **_AUTHORS,
        "weight_decay": 0.01,
        "weight_decay_steps": 0.667,
        "drop_path": 0.4,
        "freeze_stages": 2,
    },
}


class LearningSettings(Settings):
    """Settings of an optimizer step."""

    recipe: Literal["plain", "glip", "glip_l"] = Field(
        "plain",
        description="defaults of all settings here; glip: the GLIP authors' for Swin-T, glip_l: for Swin-L",
    )
    steps: int = Field(ge=1)
    batch_size: int = Field(8, ge=1, description="images of an optimizer step, over all workers")
    accumulate: int = Field(
        1,
        ge=1,
        description="passes that a worker's images of a step are split into: needs less memory and more time",
    )
    precision: Literal["float32", "bf16"] = Field(
        "float32", description="bf16: autocast; weights, heads and losses stay float32"
    )
    learning_rate: float = Field(1e-3, gt=0)
    schedule: Literal["cosine", "multistep", "constant"] = Field(
        "cosine",
        description="after the warm-up; cosine: down half a cosine, multistep: down at each milestone, constant: no "
        "change",
    )
    final_learning_rate: float = Field(
        0.01, ge=0, le=1, description="cosine: the rate at the last step, as a share of learning_rate"
    )
    milestones: tuple[float, ...] = Field(
        (0.67, 0.89),
        description="multistep: shares of all steps at which the rate is multiplied by milestone_factor",
    )
    milestone_factor: float = Field(0.1, gt=0, le=1, description="multistep: factor at each milestone")
    warmup_steps: int = Field(60, ge=0)
    warmup_start: float = Field(
        0.0, ge=0, le=1, description="share of the rate at the start of the linear warm-up"
    )
    weight_decay: float = Field(0.02, ge=0)
    weight_decay_steps: float | None = Field(
        None,
        gt=0,
        le=1,
        description="at this share of each milestone's step the weight decay is multiplied by milestone_factor",
    )
    no_decay: Literal["vectors", "biases"] = Field(
        "vectors",
        description="parameters without weight decay; vectors: vectors and scalars, biases: every parameter called a "
        "bias",
    )
    betas: tuple[Beta, Beta] = Field(
        (0.9, 0.99),
        description="AdamW's two: the decay of its averages of gradients and of their squares",
    )
    text_rate: float = Field(
        1.0, gt=0, description="learning rate of the text encoder, as a share of learning_rate"
    )
    backbone_rate: float = Field(
        1.0, gt=0, description="learning rate of the image backbone, as a share of learning_rate"
    )
    bias_rate: float = Field(1.0, gt=0, description="factor of the learning rate of every bias")
    clip_norm: float = Field(1.0, gt=0, description="limit of the gradient's norm")
    ema_decay: float | None = Field(
        None, gt=0, lt=1, description="average the weights with this decay and save the average"
    )
    freeze_stages: int = Field(
        0, ge=0, description="of the backbone; 0: none, 1: the stem, 2: the first stage too, and so on"
    )
    freeze_batch_norm: bool = Field(
        False,
        description="batch norms keep the averages of the start; otherwise they use statistics of the whole batch over "
        "workers",
    )
    drop_path: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="rate of Swin's last block; without it, the value in the configuration of the start",
    )
    dropout: float | None = Field(
        None, ge=0, lt=1, description="of text encoder, tower and fusion; without it, the start's value"
    )
    dropblock: float | None = Field(
        None, ge=0, lt=1, description="of the pyramid; without it, the start's value"
    )
    activation_checkpointing: bool = Field(
        False,
        description="recompute each block's activations in the backward pass: needs less memory and more time",
    )
    seed: int = Field(0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _apply_recipe(cls, values: object) -> object:
        if not isinstance(values, dict):
            return values
        return {**RECIPES.get(str(values.get("recipe", "plain")), {}), **values}

    @model_validator(mode="after")
    def _check_milestones(self) -> LearningSettings:
        if list(self.milestones) != sorted(self.milestones) or not all(0 < m < 1 for m in self.milestones):
            raise ValueError(
                f"milestones {list(self.milestones)}: expected rising shares of all steps between 0 and 1"
            )
        return self
