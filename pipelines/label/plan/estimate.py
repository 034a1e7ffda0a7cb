"""Estimate the hours, bytes and money of a labeling job.

Every rate names its source: assumed, or what it was measured on. A number that cannot be computed is null, never zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NotRequired, TypedDict

from engine.settings import RunSettings
from pipelines.label.prices import Bill, PriceSettings, compute_bill, format_bill, multiply

ASSUMED_BYTES_PER_SAMPLE = 2_000


class FigureData(TypedDict):
    """A `Figure` as JSON."""

    value: float
    source: str


@dataclass(frozen=True)
class Figure:
    """A number and its source: `assumed`, or what it was measured on."""

    value: float
    source: str

    def data(self) -> FigureData:
        """Return the figure as JSON."""
        return {"value": self.value, "source": self.source}


@dataclass(frozen=True)
class Workload:
    """Work to estimate. samples: None if no shard's number of samples is known yet."""

    samples: int | None
    bytes_in: int
    rate: Figure | None
    """Images per second of one actor."""
    bytes_per_sample: Figure


class CostEstimate(TypedDict):
    """The `estimate` of docs/interfaces.md."""

    samples: int | None
    images_per_s: FigureData | None
    hours: float | None
    gpu_hours: float | None
    cpu_hours: float | None
    bytes_in: int
    bytes_out: int | None
    bytes_per_sample: FigureData
    cost: Bill | None
    samples_guessed_from_sizes: NotRequired[int]


def estimate(work: Workload, run: RunSettings, prices: PriceSettings | None) -> CostEstimate:
    """Compute hours, bytes and money of a workload; null for what is unknown."""
    actor_hours = None
    if work.rate is not None and work.samples is not None:
        actor_hours = work.samples / work.rate.value / 3600
    bytes_out = None if work.samples is None else round(work.samples * work.bytes_per_sample.value)
    gpu_hours, cpu_hours = (
        multiply(actor_hours, run.gpus_per_actor),
        multiply(actor_hours, run.cpus_per_actor),
    )
    return {
        "samples": work.samples,
        "images_per_s": work.rate.data() if work.rate else None,
        "hours": multiply(actor_hours, 1 / run.actors.max),
        "gpu_hours": gpu_hours,
        "cpu_hours": cpu_hours,
        "bytes_in": work.bytes_in,
        "bytes_out": bytes_out,
        "bytes_per_sample": work.bytes_per_sample.data(),
        "cost": compute_bill(
            {
                "gpu_hours": gpu_hours,
                "cpu_hours": cpu_hours,
                "bytes_in": work.bytes_in,
                "bytes_out": bytes_out,
            },
            prices,
        ),
    }


def format_estimate(found: CostEstimate) -> list[str]:
    """Return an estimate as text lines."""
    if found["samples"] is None or found["bytes_out"] is None:
        return ["number of samples unknown: no shard was read yet; `plan --measure N` reads some"]
    guessed = found.get("samples_guessed_from_sizes", 0)
    lines = [
        f"about {found['samples']} samples" + (f", {guessed} of them guessed from sizes" if guessed else "")
    ]
    rate = found["images_per_s"]
    if rate is None:
        lines.append("hours unknown: give --images-per-s or --measure N")
    else:
        hours = (
            f"{found['hours']:.2f} h, {found['gpu_hours']:.2f} GPU hours, {found['cpu_hours']:.2f} CPU hours"
        )
        lines.append(f"{hours} at {rate['value']:.3g} images/s per actor ({rate['source']})")
    size = found["bytes_per_sample"]
    lines.append(
        f"{found['bytes_in'] / 1e9:.3f} GB to read, {found['bytes_out'] / 1e9:.3f} GB of evidence"
        f" at {size['value']:.0f} bytes per sample ({size['source']})"
    )
    return lines + format_bill(found["cost"])
