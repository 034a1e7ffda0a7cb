"""What labelling costs: hours from a rate, money from a price table.

Promise: a number that was assumed says so, and what cannot be told is null, never zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field, model_validator

from engine.settings import RunSettings
from schemas.settings import Settings

_BILLED = ("gpu", "cpu", "egress", "storage_month")
ASSUMED_BYTES_PER_SAMPLE = 2_000


class PriceSettings(Settings):
    """A price table. What is not given costs nothing and is said to be left out."""

    currency: str = Field("USD", min_length=1, max_length=8, description="shown beside every sum")
    gpu_hour: dict[str, float] = Field({}, description="price of one GPU for an hour, by type: {h100: 2.5}")
    gpu: str | None = Field(None, description="the type that `run` uses; default the only one in gpu_hour")
    cpu_hour: float | None = Field(None, ge=0, description="price of one CPU core for an hour")
    storage_gb_month: float | None = Field(
        None, ge=0, description="price of 10^9 bytes of evidence for a month"
    )
    egress_gb: float | None = Field(None, ge=0, description="price of reading 10^9 bytes of shards")

    @model_validator(mode="after")
    def _names_a_priced_gpu(self) -> PriceSettings:
        if any(price < 0 for price in self.gpu_hour.values()):
            raise ValueError("price.gpu_hour: a price is below 0")
        if self.gpu is not None and self.gpu not in self.gpu_hour:
            raise ValueError(f"price.gpu: {self.gpu!r} is not one of {', '.join(self.gpu_hour) or 'none'}")
        return self

    def of_gpu_hour(self) -> float | None:
        """The price of a GPU hour of the type in use; None when several are listed and none is chosen."""
        if self.gpu is not None:
            return self.gpu_hour[self.gpu]
        return next(iter(self.gpu_hour.values())) if len(self.gpu_hour) == 1 else None


@dataclass(frozen=True)
class Figure:
    """A number and where it comes from: `assumed`, or what it was measured on."""

    value: float
    source: str

    def data(self) -> dict[str, Any]:
        """The figure as JSON."""
        return {"value": self.value, "source": self.source}


@dataclass(frozen=True)
class Workload:
    """What is to be done. samples: None where the size of no shard is known by its samples yet."""

    samples: int | None
    bytes_in: int
    rate: Figure | None
    """images per second of one actor"""
    bytes_per_sample: Figure


def estimate(work: Workload, run: RunSettings, prices: PriceSettings | None) -> dict[str, Any]:
    """Hours, bytes and money of a workload, as JSON; null for what cannot be told."""
    actor_hours = None
    if work.rate is not None and work.samples is not None:
        actor_hours = work.samples / work.rate.value / 3600
    bytes_out = None if work.samples is None else round(work.samples * work.bytes_per_sample.value)
    hours = {
        "images_per_s": work.rate.data() if work.rate else None,
        "hours": _times(actor_hours, 1 / run.actors.max),
        "gpu_hours": _times(actor_hours, run.gpus_per_actor),
        "cpu_hours": _times(actor_hours, run.cpus_per_actor),
        "bytes_in": work.bytes_in,
        "bytes_out": bytes_out,
        "bytes_per_sample": work.bytes_per_sample.data(),
    }
    return {"samples": work.samples, **hours, "cost": cost(hours, prices)}


def cost(hours: dict[str, Any], prices: PriceSettings | None) -> dict[str, Any] | None:
    """Money for GPU and CPU hours, bytes read and bytes kept for a month; None without a price table."""
    if prices is None:
        return None
    bills = {
        "gpu": (hours.get("gpu_hours"), prices.of_gpu_hour()),
        "cpu": (hours.get("cpu_hours"), prices.cpu_hour),
        "egress": (_times(hours.get("bytes_in"), 1e-9), prices.egress_gb),
        "storage_month": (_times(hours.get("bytes_out"), 1e-9), prices.storage_gb_month),
    }
    parts = {name: _times(amount, price) for name, (amount, price) in bills.items()}
    left_out = [
        name for name, (amount, price) in bills.items() if price is None and amount != 0
    ]  # no price, or no amount to price
    known = [value for value in parts.values() if value is not None]
    return {
        "currency": prices.currency,
        "total": sum(known) if known else None,
        **parts,
        "left_out": left_out,
    }


def estimate_lines(found: dict[str, Any]) -> list[str]:
    """An estimate for a person."""
    if found["samples"] is None:
        return ["samples unknown: no shard was read yet; `plan --measure N` reads some"]
    guessed = found["samples_guessed_from_sizes"]
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
        lines.append(f"{hours} at {rate['value']:.3g} images/s and actor ({rate['source']})")
    size = found["bytes_per_sample"]
    lines.append(f"{found['bytes_in'] / 1e9:.3f} GB to read, {found['bytes_out'] / 1e9:.3f} GB of evidence")
    lines[-1] += f" at {size['value']:.0f} bytes a sample ({size['source']})"
    return lines + cost_lines(found["cost"])


def cost_lines(bill: dict[str, Any] | None) -> list[str]:
    """A bill for a person; nothing without a price table."""
    if bill is None:
        return []
    parts = [f"{name} {bill[name]:.2f}" for name in _BILLED if bill.get(name) is not None]
    total = "unknown" if bill["total"] is None else f"{bill['total']:.2f} {bill['currency']}"
    left_out = (
        f"; left out for want of a price or an amount: {', '.join(bill['left_out'])}"
        if bill["left_out"]
        else ""
    )
    return [f"cost {total} ({', '.join(parts)}{left_out})"]


def _times(amount: float | None, factor: float | None) -> float | None:
    return None if amount is None or factor is None else amount * factor
