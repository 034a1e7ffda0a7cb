"""How often the teacher boxed a noun that is believed absent, as a section of the report."""

from __future__ import annotations

from pipelines.quality.decoys import DecoyShare
from pipelines.reporting.charts import whiskers
from pipelines.reporting.data import ReportData
from pipelines.reporting.markup import Markup, element
from pipelines.reporting.page_parts import card, section


def decoys(data: ReportData) -> Markup | None:
    """Shares of decoys with a box, by frequency; None for a round without decoys."""
    if data.decoys is None:
        return None
    found = data.decoys
    rows = [
        _row("all", found.all),
        *(_row(f"in {name} captions", one) for name, one in found.by_frequency.items()),
    ]
    note = (
        f"{found.all.asked:,} decoys on {found.images:,} images, {found.all.with_box:,} with a box at or above "
        f"{found.min_score:g}. Dots with 95 % intervals. Believed absent, not known to be: a caption leaves things "
        "out, so this is no rate of mistakes."
    )
    cards = element("div", card("Decoys with a box", whiskers(rows), note), class_="cards")
    return section("Asked for what is not there", cards)


def _row(name: str, found: DecoyShare) -> tuple[str, float | None, float, float]:
    return name, found.share, found.low, found.high
