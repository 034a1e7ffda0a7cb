"""Labels to look at or to export, whatever they are: evidence, a view, or gold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from engine.settings import StorageSettings
from engine.storage.store import open_store
from engine.views import MANIFEST, open_view
from pipelines.labels.evidence import open_evidence
from pipelines.labels.fates import LabelRow
from pipelines.quality.decoys import DecoyCounter
from schemas.rows import RejectionRow


@dataclass(frozen=True)
class Labels:
    """Rows with phrases and regions, and what identifies them. `url` is where they are."""

    kind: Literal["evidence", "view", "gold"]
    digest: str
    provenance: dict[str, Any]
    rows: Callable[[], Iterator[LabelRow]]
    rejections: Callable[[], Iterator[RejectionRow]]
    url: str
    storage: StorageSettings | None
    decoys: DecoyCounter | None = None
    """Counts decoys at the least score that the evidence kept; views hold none of their boxes."""


def open_labels(url: str, storage: StorageSettings | None = None) -> Labels:
    """Open the labels at a folder or URL. Raises NotFoundError if there are none, ConflictError if they are damaged."""
    if open_store(url, storage).exists(MANIFEST):
        view = open_view(url, storage)
        manifest = view.manifest
        return Labels(
            manifest.kind, manifest.digest, manifest.provenance, view.rows, lambda: iter(()), url, storage
        )
    evidence = open_evidence(url, storage)
    provenance = {"score_kind": evidence.score_kind, "evidence": evidence.settings.model_dump()}
    decoys = DecoyCounter(evidence.settings.min_score, evidence.pool)
    return Labels(
        "evidence",
        evidence.snapshot.digest,
        provenance,
        evidence.rows,
        evidence.rejections,
        url,
        storage,
        decoys,
    )
