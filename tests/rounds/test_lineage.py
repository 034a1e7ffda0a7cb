"""The lineage names everything from which a view or model was made."""

from __future__ import annotations

from collections.abc import Callable

from pipelines.rounds.lineage import build_lineage
from pipelines.rounds.settings import RoundsConfig
from tests.rounds.graphs import list_ancestors

COMPILED = {"snapshot_digest": "sha256:e", "policy_digest": "sha256:p", "digest": "sha256:v"}


def test_gold_that_goes_before_the_teacher_is_an_ancestor_of_the_view(
    rounds_config: Callable[..., RoundsConfig],
) -> None:
    done = {
        "label": {"input_digest": "sha256:i"},
        "compile": {**COMPILED, "gold": {"gold/coco": "sha256:g"}},
    }

    lineage = build_lineage(rounds_config(), "sha256:t", [done])

    assert list_ancestors(lineage, "sha256:v") == {f"sha256:{one}" for one in "itepg"}
    assert {node.id: node.kind for node in lineage.nodes}["sha256:g"] == "gold"
