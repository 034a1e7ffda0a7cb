"""Settings that every teacher with a model class of `transformers` has."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.settings import LegacyValue
from teacher.registry import TeacherSettings


class ModelRunSettings(TeacherSettings):
    """How a torch model runs. Everything that can change a float is part of the teacher's digest."""

    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where the model runs; not part of its digest"
    )
    precision: Annotated[Literal["fp32", "bf16", "fp16"], LegacyValue()] = Field(
        "fp32", description="type of the matrix products (autocast); fp16 needs a GPU"
    )
    channels_last: Annotated[bool, LegacyValue()] = Field(
        False, description="keep images in memory with the channels last, which many GPUs prefer"
    )
    compile: Annotated[bool, LegacyValue()] = Field(
        False, description="compile the model with torch.compile when it is loaded"
    )
    reduce_jpegs: Annotated[bool, LegacyValue()] = Field(
        False,
        description="decode JPEGs at 1/2, 1/4 or 1/8 of their size where the model's input is smaller still; faster, "
        "and boxes differ a little",
    )


class HuggingFaceSettings(ModelRunSettings):
    """Settings of a teacher with a model class of `transformers`."""

    model: str = Field(
        description="a model directory in Hugging Face's layout, or a hub id with its commit: owner/name@commit"
    )
    pad_multiple: int = Field(
        32,
        ge=1,
        description="sides of images of varying size are padded to a multiple of this; a larger one makes fewer "
        "sizes, so that batches fill up, and costs pixels; no effect on a model whose images all have one size",
    )


class PromptSettings(HuggingFaceSettings):
    """Settings of a teacher that reads one text with several phrases in it."""

    prompt: Literal["phrases", "auto", "caption"] = Field(
        "phrases",
        description="phrases: lists of the phrases, as the published examples ask; auto: the caption where it fits "
        "the token budget, lists otherwise; caption: captions only, longer ones are split at phrase borders",
    )
    pool: Literal["max", "mean"] = Field("max", description="the score of a phrase from those of its tokens")
