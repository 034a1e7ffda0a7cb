"""What decoys tell of a teacher: hand-worked shares and intervals, and from `label` to `compile` and `stats`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.compile.policy import Policy
from pipelines.compile.run import compile_view
from pipelines.label.run import label
from pipelines.labels.stats import count_labels
from pipelines.quality.decoys import DecoyCounter
from schemas.decoys import DecoyPool
from schemas.errors import ConflictError
from tests.engine.decoy_worlds import animal_captions, decoy_job
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import write_shard

POOL = DecoyPool(counts={"bee": 1, "kite": 5}, asked=("bee", "kite"))


def row(*decoys: tuple[str, float | None], asked: bool = True) -> dict[str, Any]:
    """Make a row with one phrase of its own and decoys with the score of their box, None for no box."""
    own = {"kind": "chunk", "root": "dog", "groundable": True}
    phrases = [own, *({"kind": "decoy", "root": noun, "groundable": asked} for noun, _ in decoys)]
    regions = [{"phrase": n, "score": score} for n, (_, score) in enumerate(decoys, 1) if score is not None]
    return {"phrases": phrases, "regions": [{"phrase": 0, "score": 0.9}, *regions]}


def numbers_of(rows: list[dict[str, Any]], min_score: float = 0.5):
    tally = DecoyCounter(min_score, POOL)
    for one in rows:
        tally.add(one)
    return tally.numbers()


def test_the_share_is_of_decoys_with_a_box_at_or_above_the_threshold() -> None:
    found = numbers_of([row(("bee", 0.5), ("kite", 0.49)), row(("bee", None)), row()])

    assert (found.all.asked, found.all.with_box, found.images) == (3, 1, 2)
    assert {name: (one.asked, one.with_box) for name, one in found.by_frequency.items()} == {
        "1": (2, 1),
        "4-7": (1, 0),
    }


def test_a_decoy_that_was_not_asked_is_no_observation() -> None:
    found = numbers_of([row(("bee", None), asked=False)])

    assert found.not_asked == 1 and found.all.share is None and (found.all.low, found.all.high) == (0.0, 1.0)


def test_without_decoys_there_is_nothing_to_say() -> None:
    assert numbers_of([row(), row()]) is None


def test_independent_decoys_have_wilsons_interval() -> None:
    rows = [row(("bee", 0.9 if n < 20 else None)) for n in range(100)]

    found = numbers_of(rows).all

    # Wilson's for 20 of 100 is 0.1334 to 0.2888; the sample variance over images (K - 1) widens it a little
    assert (found.low, found.high) == pytest.approx((0.1334, 0.2888), abs=2e-3)


def test_decoys_that_stand_or_fall_with_their_image_count_as_one() -> None:
    together = [row(*[("bee", 0.9 if n < 20 else None)] * 4) for n in range(100)]
    alone = [row(("bee", 0.9 if n < 20 else None)) for n in range(100)]

    assert numbers_of(together).all.asked == 400
    assert numbers_of(together).all.low == pytest.approx(numbers_of(alone).all.low)
    assert numbers_of(together).all.high == pytest.approx(numbers_of(alone).all.high)


def test_a_score_written_with_the_threshold_counts_as_at_it() -> None:
    assert numbers_of([row(("bee", float(np.float32(0.7))))], 0.7).all.with_box == 1


@pytest.fixture
def evidence(tmp_path: Path) -> str:
    shard = write_shard(tmp_path / "a.tar", animal_captions(18))
    label(decoy_job(tmp_path, [shard]), factories=FACTORIES)
    return str(tmp_path / "out")


def test_compile_and_stats_tell_of_decoys_and_count_them_nowhere_else(tmp_path: Path, evidence: str) -> None:
    stats = count_labels(evidence)
    report = compile_view(evidence, Policy(min_score=0.1), str(tmp_path / "view"))

    assert report.decoys is not None and stats.decoys is not None
    assert report.decoys.all.asked == stats.phrase_kinds["decoy"] == stats.decoys.all.asked > 0
    assert report.decoys.min_score == 0.1 and stats.decoys.min_score == 0.05
    assert sum(one.asked for one in report.decoys.by_frequency.values()) == report.decoys.all.asked
    assert stats.phrases == stats.phrase_kinds["chunk"] and stats.samples_with_region == 18
    assert report.regions.dropped["decoy"] + stats.regions == report.regions.regions_in
    assert any("believed absent" in table.title for table in [*report.tables(), *stats.tables()])
    assert count_labels(str(tmp_path / "view")).decoys is None, "a view holds no box of a decoy"


def test_a_lost_pool_stops_the_report_by_name(tmp_path: Path, evidence: str) -> None:
    for path in Path(evidence, "decoys").iterdir():
        path.unlink()

    with pytest.raises(ConflictError, match="restore it"):
        compile_view(evidence, Policy(), str(tmp_path / "view"))
