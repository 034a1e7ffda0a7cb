"""How a model learns: batch, schedule, optimizer, freezes, random layers; and the recipes that set them together.

A recipe is a set of defaults: what a configuration names itself goes before it, and the resolved settings show
every value. Imports no heavy library.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from schemas.settings import Settings

# GLIP's authors: configs/pretrain of microsoft/GLIP at 9dda955, Swin-T with gold and Swin-L. Their optimizer takes
# torch's betas; a parameter is a bias when its name contains "bias", so the position bias tables are biases too.
_AUTHORS: dict[str, Any] = {
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
RECIPES: dict[str, dict[str, Any]] = {
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
    """What an optimizer step is."""

    recipe: Literal["plain", "glip", "glip_l"] = Field(
        "plain",
        description="defaults of all settings here; glip: the GLIP authors' of Swin-T, glip_l: of Swin-L",
    )
    steps: int = Field(ge=1)
    batch_size: int = Field(8, ge=1, description="images of an optimizer step, over all workers")
    accumulate: int = Field(
        1, ge=1, description="passes that a worker's images of a step are split into: less memory, more time"
    )
    precision: Literal["float32", "bf16"] = Field(
        "float32", description="bf16: autocast; weights, heads and losses stay float32"
    )
    learning_rate: float = Field(1e-3, gt=0)
    schedule: Literal["cosine", "multistep", "constant"] = Field(
        "cosine",
        description="after the warm-up: down half a cosine, down at each of the milestones, or no change",
    )
    final_learning_rate: float = Field(
        0.01, ge=0, le=1, description="cosine: the rate at the last step, as a share of learning_rate"
    )
    milestones: tuple[float, ...] = Field(
        (0.67, 0.89), description="multistep: shares of all steps at which the rate is multiplied"
    )
    milestone_factor: float = Field(0.1, gt=0, le=1, description="multistep: what it is multiplied by")
    warmup_steps: int = Field(60, ge=0)
    warmup_start: float = Field(
        0.0, ge=0, le=1, description="share of the rate that the warm-up starts from, in a straight line"
    )
    weight_decay: float = Field(0.02, ge=0)
    weight_decay_steps: float | None = Field(
        None,
        gt=0,
        le=1,
        description="at this share of each milestone's step the weight decay is multiplied by milestone_factor",
    )
    no_decay: Literal["vectors", "biases"] = Field(
        "vectors", description="not decayed: vectors and scalars, or every parameter called a bias"
    )
    betas: tuple[Beta, Beta] = Field(
        (0.9, 0.99),
        description="AdamW's two: how slowly its averages of gradients and of their squares forget",
    )
    text_rate: float = Field(
        1.0, gt=0, description="the text encoder's learning rate, as a share of learning_rate"
    )
    backbone_rate: float = Field(1.0, gt=0, description="the image backbone's")
    bias_rate: float = Field(1.0, gt=0, description="multiplies the learning rate of every bias")
    clip_norm: float = Field(1.0, gt=0, description="limit of the gradient's norm")
    ema_decay: float | None = Field(
        None, gt=0, lt=1, description="average the weights; the average is what is saved"
    )
    freeze_stages: int = Field(
        0, ge=0, description="of the backbone: 1 the stem, 2 the first stage too, and so on; 0 nothing"
    )
    freeze_batch_norm: bool = Field(
        False,
        description="batch norms keep the start's averages; else their statistics are of the whole batch over workers",
    )
    drop_path: float | None = Field(
        None, ge=0, lt=1, description="rate of Swin's last block; none: as the start's configuration says"
    )
    dropout: float | None = Field(None, ge=0, lt=1, description="of text encoder, tower and fusion; none: so")
    dropblock: float | None = Field(None, ge=0, lt=1, description="of the pyramid; none: so")
    activation_checkpointing: bool = Field(
        False,
        description="compute each block's activations anew in the backward pass: less memory, more time",
    )
    seed: int = Field(0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _recipe_fills_in(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {**RECIPES.get(str(values.get("recipe", "plain")), {}), **values}

    @model_validator(mode="after")
    def _milestones_rise(self) -> LearningSettings:
        if list(self.milestones) != sorted(self.milestones) or not all(0 < m < 1 for m in self.milestones):
            raise ValueError(f"milestones {list(self.milestones)}: expected rising shares of all steps, 0..1")
        return self
