"""Where and how often: places, workers, checkpoints, logs, and what the data must not share. Imports no heavy library.

But for `device`, nothing here changes what is learned beyond rounding, so a run may be continued with other values.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.settings import Settings


class RunningSettings(Settings):
    """How a training is run and watched."""

    out: str = Field(
        min_length=1, description="directory for the model, checkpoints, logs and report; shared by all nodes"
    )
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = Field(
        1, ge=1, le=1024, description="CPU threads; more than one collapses on a busy machine"
    )
    workers: int = Field(
        1,
        ge=1,
        description="1: this process; more: so many workers on Ray Train, each with its share of a batch",
    )
    cpus_per_worker: float = Field(1.0, ge=0, description="CPUs that Ray reserves for a worker")
    gpus_per_worker: float = Field(1.0, ge=0, description="the same for GPUs, with device: cuda")
    address: str | None = Field(
        None, description="Ray cluster to use; none: RAY_ADDRESS, and without that one of this machine"
    )
    allow_unauthenticated: bool = Field(
        False, description="use a cluster that asks nobody for a token (docs/cluster.md)"
    )
    restarts: int = Field(
        3, ge=0, description="times that lost workers are replaced without a new checkpoint in between"
    )
    checkpoint_every: int = Field(500, ge=1, description="steps between checkpoints")
    keep_checkpoints: int = Field(2, ge=1)
    log_every: int = Field(20, ge=1)
    tensorboard: bool = Field(True, description="write event files beside the JSON lines")
    images_every: int = Field(
        500, ge=0, description="steps between pictures of targets and predictions in TensorBoard; 0: none"
    )
    log_samples: bool = Field(False, description="write the images' names of every step to samples.jsonl")
    evaluation: tuple[str, ...] = Field(
        (), description="views or gold folders that the student will be measured on; their images are refused"
    )
    overlap_bits: int | None = Field(
        4,
        ge=0,
        le=16,
        description="largest distance of 64-bit perceptual hashes that is one image; none: equal bytes only, which "
        "decodes no image",
    )
    allow_overlap: bool = Field(False, description="train on images of `evaluation` all the same; it is told")
