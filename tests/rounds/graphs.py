"""Questions about a lineage."""

from __future__ import annotations

from pipelines.rounds.lineage import Lineage


def list_ancestors(lineage: Lineage, node: str) -> set[str]:
    """Return every node from which a node was made, directly or not."""
    ancestors: set[str] = set()
    waiting = [node]
    while waiting:
        target = waiting.pop()
        new = {edge.source for edge in lineage.edges if edge.to == target} - ancestors
        ancestors |= new
        waiting += new
    return ancestors
