"""Settings of where and how a training runs: device, workers, checkpoints, logs, decontamination.

Except for `device` and `threads`, no setting here changes the result beyond rounding, so a run may continue with
other values. Imports no heavy library.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.settings import Settings


class RunningSettings(Settings):
    """Settings of how a training is run and observed."""

    out: str = Field(
        min_length=1, description="directory for model, checkpoints, logs and report; shared by all nodes"
    )
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = Field(
        1, ge=1, le=1024, description="CPU threads; with more than one, a busy machine becomes very slow"
    )
    workers: int = Field(
        1,
        ge=1,
        description="1: this process; more: that many workers on Ray Train, each with its share of a batch",
    )
    cpus_per_worker: float = Field(1.0, ge=0, description="CPUs that Ray reserves for a worker")
    gpus_per_worker: float = Field(
        1.0, ge=0, description="GPUs that Ray reserves for a worker, with device: cuda"
    )
    address: str | None = Field(
        None, description="Ray cluster; without it, RAY_ADDRESS, else a cluster on this machine"
    )
    allow_unauthenticated: bool = Field(
        False, description="allow connecting to a cluster without token authentication (docs/cluster.md)"
    )
    restarts: int = Field(
        3, ge=0, description="how often lost workers are replaced without a new checkpoint in between"
    )
    checkpoint_every: int = Field(500, ge=1, description="steps between checkpoints")
    keep_checkpoints: int = Field(2, ge=1)
    log_every: int = Field(20, ge=1)
    tensorboard: bool = Field(True, description="write event files in addition to JSON lines")
    images_every: int = Field(
        500,
        ge=0,
        description="steps between pictures of targets and predictions in TensorBoard; 0: no pictures",
    )
    log_samples: bool = Field(False, description="write the names of each step's images to samples.jsonl")
    evaluation: tuple[str, ...] = Field(
        (),
        description="views or gold folders that the student will be measured on; training on their images is refused",
    )
    overlap_bits: int | None = Field(
        4,
        ge=0,
        le=16,
        description="largest distance between 64-bit perceptual hashes of one image; null: compare bytes only, which "
        "decodes no image",
    )
    allow_overlap: bool = Field(
        False, description="allow training on images of `evaluation`; the report and the card count them"
    )
