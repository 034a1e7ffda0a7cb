"""Price tables, and the money that hours and bytes cost.

A sum that cannot be computed is null, never zero.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict

from pydantic import Field, model_validator

from schemas.settings import Settings

_ITEMS = ("gpu", "cpu", "egress", "storage_month")


class PriceSettings(Settings):
    """A price table. An item without a price is left out of the sum and listed as left out."""

    currency: str = Field("USD", min_length=1, max_length=8, description="shown after every sum")
    gpu_hour: dict[str, float] = Field({}, description="price of one GPU for an hour, by type: {h100: 2.5}")
    gpu: str | None = Field(None, description="the type that `run` uses; default the only one in gpu_hour")
    cpu_hour: float | None = Field(None, ge=0, description="price of one CPU core for an hour")
    storage_gb_month: float | None = Field(
        None, ge=0, description="price of 10^9 bytes of evidence for a month"
    )
    egress_gb: float | None = Field(None, ge=0, description="price of reading 10^9 bytes of shards")

    @model_validator(mode="after")
    def _check_gpu_prices(self) -> PriceSettings:
        if negative := {gpu: price for gpu, price in self.gpu_hour.items() if price < 0}:
            raise ValueError(f"price.gpu_hour: {negative} is below 0; expected prices of at least 0")
        if self.gpu is not None and self.gpu not in self.gpu_hour:
            listed = ", ".join(self.gpu_hour) or "none"
            raise ValueError(f"price.gpu {self.gpu!r} has no price; price.gpu_hour lists {listed}")
        return self

    def find_gpu_price(self) -> float | None:
        """Return the price of a GPU hour; None if several types are listed and `gpu` names none."""
        if self.gpu is not None:
            return self.gpu_hour[self.gpu]
        return next(iter(self.gpu_hour.values())) if len(self.gpu_hour) == 1 else None


class Resources(TypedDict):
    """What costs money. None: unknown. A missing key counts as unknown, too."""

    gpu_hours: float | None
    cpu_hours: float | None
    bytes_in: NotRequired[int | None]
    bytes_out: NotRequired[int | None]


class Bill(TypedDict):
    """Money by item. `left_out` lists the items without a price or an amount."""

    currency: str
    total: float | None
    gpu: float | None
    cpu: float | None
    egress: float | None
    storage_month: float | None
    left_out: list[str]


def compute_bill(resources: Resources, prices: PriceSettings | None) -> Bill | None:
    """Price the GPU and CPU hours, the bytes read and a month of the bytes kept; None without a price table."""
    if prices is None:
        return None
    items = {
        "gpu": (resources.get("gpu_hours"), prices.find_gpu_price()),
        "cpu": (resources.get("cpu_hours"), prices.cpu_hour),
        "egress": (multiply(resources.get("bytes_in"), 1e-9), prices.egress_gb),
        "storage_month": (multiply(resources.get("bytes_out"), 1e-9), prices.storage_gb_month),
    }
    sums = {name: multiply(amount, price) for name, (amount, price) in items.items()}
    known = [value for value in sums.values() if value is not None]
    return {
        "currency": prices.currency,
        "total": sum(known) if known else None,
        "gpu": sums["gpu"],
        "cpu": sums["cpu"],
        "egress": sums["egress"],
        "storage_month": sums["storage_month"],
        "left_out": [name for name, (amount, price) in items.items() if price is None and amount != 0],
    }


def format_bill(bill: Bill | None) -> list[str]:
    """Return a bill as text lines; none without a price table."""
    if bill is None:
        return []
    sums = {"gpu": bill["gpu"], "cpu": bill["cpu"], "egress": bill["egress"]}
    sums["storage_month"] = bill["storage_month"]
    parts = [f"{name} {sums[name]:.2f}" for name in _ITEMS if sums[name] is not None]
    total = "unknown" if bill["total"] is None else f"{bill['total']:.2f} {bill['currency']}"
    left_out = f"; without a price or an amount: {', '.join(bill['left_out'])}" if bill["left_out"] else ""
    return [f"cost {total} ({', '.join(parts)}{left_out})"]


def multiply(amount: float | None, factor: float | None) -> float | None:
    """Multiply two numbers; None if one is unknown."""
    return None if amount is None or factor is None else amount * factor
