"""Statistics of a round's data: boxes per image, decoys with a box, the digest of the shards read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.storage.store import open_store
from engine.views import open_view
from pipelines.labels.fates import find_kept_regions
from schemas.digests import digest_of_many
from schemas.ledger import ShardFacts


def count_boxes_per_image(url: str) -> float:
    """Return the mean number of different kept boxes over the images of a view or gold with at least one.

    An object that two phrases name counts as one box. Returns 0.0 if no image has a box.
    """
    boxes = images = 0
    for row in open_view(url).rows():
        different = {
            tuple(region[side] for side in ("x0", "y0", "x1", "y1")) for region in find_kept_regions(row)
        }
        boxes += len(different)
        images += bool(different)
    return boxes / images if images else 0.0


def get_decoy_false_share(report: Mapping[str, Any]) -> float | None:
    """Return the share of the decoys with a box that the policy would keep; None without decoys."""
    share: float | None = report["decoys"]["all"]["share"] if report["decoys"] else None
    return share


def compute_input_digest(evidence: str) -> str:
    """Return one digest over the sha256 of each shard that the evidence was made from, in the order of their URLs."""
    store = open_store(evidence)
    facts = (ShardFacts.model_validate_json(store.read(path)) for path in store.list("shards"))
    read = sorted({(fact.url, fact.sha256) for fact in facts})
    return digest_of_many(sha256 for _, sha256 in read)
