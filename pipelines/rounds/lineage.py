"""The lineage of every model and view of the rounds: a graph of digests, down to the digest of the input.

There is an edge only if the record of a step names both ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from pipelines.rounds.results import RoundResults
from pipelines.rounds.settings import ARMS, RoundsConfig
from pipelines.steps.outputs import TrainOutput
from schemas.records import Record
from teacher.models.weight_files import WEIGHTS

Kind = Literal["input", "gold", "policy", "evidence", "view", "model"]


class Node(Record):
    """A model, view, policy or data set with its digest."""

    id: str = Field(description="sha256 digest")
    kind: Kind
    name: str
    round: int = Field(ge=0, description="0: it existed before the first round")


class Edge(Record):
    """`to` was made from `source`."""

    source: str
    to: str
    by: str = Field(description="the step that made it")


class Lineage(Record):
    """The graph. Nodes and edges are in order of creation, without duplicates."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


class _Graph:
    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.edges: dict[tuple[str, str], Edge] = {}

    def add(self, digest: str, kind: Kind, name: str, number: int, sources: Sequence[str], by: str) -> str:
        self.nodes.setdefault(digest, Node(id=digest, kind=kind, name=name, round=number))
        for source in sources:
            self.edges.setdefault((source, digest), Edge(source=source, to=digest, by=by))
        return digest


def build_lineage(config: RoundsConfig, first_teacher: str, rounds: Sequence[RoundResults]) -> Lineage:
    """Build the graph of the rounds so far. A model is identified by the digest of its weights.

    first_teacher: digest of the weights of a GLIP model, or the digest of a teacher of another kind
    """
    graph = _Graph()
    teacher = graph.add(first_teacher, "model", "first teacher", 0, (), "")
    for number, results in enumerate(rounds, start=1):
        teacher = _add_round(graph, config, number, teacher, results)
    return Lineage(nodes=tuple(graph.nodes.values()), edges=tuple(graph.edges.values()))


def _add_round(graph: _Graph, config: RoundsConfig, number: int, teacher: str, results: RoundResults) -> str:
    """Add a round; return the digest of the model that teaches the next one."""
    if "compile" not in results:
        return teacher
    policy = "policy" if config.policy_of(number) is config.policy else "first policy"
    _add_labels(graph, number, teacher, policy, results)
    if "train" not in results:
        return teacher
    reports = results["train"]
    trained = {name: _add_model(graph, number, name, reports[name]) for name in ARMS}
    if "promote" not in results or not config.average:
        return trained["student"]
    averaged, sources = hash_weights(results["promote"]["files"]), (trained["student"], teacher)
    return graph.add(averaged, "model", f"averaged {number}", number, sources, "average")


def _add_labels(graph: _Graph, number: int, teacher: str, policy_name: str, results: RoundResults) -> None:
    """Add the input, evidence, policy and view of a round."""
    label, compiled = results["label"], results["compile"]
    shards = graph.add(label["input_digest"], "input", "shards", 0, (), "")
    evidence = graph.add(
        compiled["snapshot_digest"], "evidence", f"evidence {number}", number, (shards, teacher), "label"
    )
    policy = graph.add(compiled["policy_digest"], "policy", policy_name, 0, (), "")
    masks = [graph.add(digest, "gold", "gold", 0, (), "") for digest in compiled.get("gold", {}).values()]
    graph.add(compiled["digest"], "view", f"view {number}", number, (evidence, policy, *masks), "compile")


def _add_model(graph: _Graph, number: int, name: str, report: TrainOutput) -> str:
    """Add a trained model, with the data and the start model that its report names."""
    data = [graph.add(one["view_digest"], "gold", "gold", 0, (), "") for one in report["streams"]]
    start = graph.add(f"sha256:{report['start_sha256']}", "model", "start", 0, (), "")
    return graph.add(
        f"sha256:{report['model_sha256']}", "model", f"{name} {number}", number, (*data, start), "train"
    )


def hash_weights(files: Mapping[str, str]) -> str:
    """Return the digest that identifies a GLIP model. files: sha256 by name."""
    return "sha256:" + files[WEIGHTS]
