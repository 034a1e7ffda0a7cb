"""What is counted about a round's data: boxes on an image, decoys that got a box, the digest of what was read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.storage.store import open_store
from engine.views import open_view
from pipelines.labels.fates import find_kept_regions
from schemas.digests import digest_of_many
from schemas.ledger import ShardFacts


def boxes_per_image(url: str) -> float:
    """Mean number of different boxes on the images of a view or gold that have one; ignored regions do not count.

    An object that two phrases name is one box. 0.0 where no image has a box.
    """
    boxes = images = 0
    for row in open_view(url).rows():
        found = {
            tuple(region[side] for side in ("x0", "y0", "x1", "y1")) for region in find_kept_regions(row)
        }
        boxes += len(found)
        images += bool(found)
    return boxes / images if images else 0.0


def decoy_false_share(report: Mapping[str, Any]) -> float | None:
    """Of the decoys that were asked for, the share with a box that the policy would keep; None without decoys."""
    share: float | None = report["decoys"]["all"]["share"] if report["decoys"] else None
    return share


def input_digest(evidence: str) -> str:
    """One digest over the shards that were read for an evidence: the sha256 of each, in the order of their URLs."""
    store = open_store(evidence)
    facts = (ShardFacts.model_validate_json(store.read(path)) for path in store.list("shards"))
    read = sorted({(fact.url, fact.sha256) for fact in facts})
    return digest_of_many(sha256 for _, sha256 in read)
