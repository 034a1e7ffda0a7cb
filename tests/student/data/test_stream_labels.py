"""A stream of a compiled view keeps whose boxes it has; gold and other views have no such facts."""

from types import SimpleNamespace

import pytest

from student.data.streams import describe_labels

FACTS = {"score_kind": "glip.x", "job_digest": "sha256:0", "policy": {"min_score": 0.5}}


def view_with(provenance):
    return SimpleNamespace(manifest=SimpleNamespace(provenance=provenance))


def test_the_facts_of_a_compiled_view_are_kept():
    assert describe_labels(view_with({**FACTS, "snapshot_digest": "sha256:1"})) == FACTS


@pytest.mark.parametrize("missing", FACTS)
def test_a_view_without_one_of_them_has_none(missing):
    assert describe_labels(view_with({name: FACTS[name] for name in FACTS if name != missing})) is None
