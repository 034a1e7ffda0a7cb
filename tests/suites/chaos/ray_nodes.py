"""A Ray cluster of several nodes on this machine, in its own process: a process can belong to one cluster only.

Run as a module, it prints its address and then obeys lines of standard input: `add CPUS`, `remove NODE`, `drain NODE`.
Each line is answered by one line of JSON. The process ends with its standard input.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any


class Nodes:
    """The client: starts the process and sends it commands."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address: str = self._answer()["address"]
        self.nodes: list[str] = []

    def add(self, cpus: int) -> str:
        """Add a node and return its id."""
        node: str = self._ask(f"add {cpus}")["node"]
        self.nodes.append(node)
        return node

    def remove(self, node: str) -> None:
        """Remove a node without a notice, like a spot market."""
        self._ask(f"remove {node}")
        self.nodes.remove(node)

    def drain(self, node: str) -> None:
        """Tell the cluster that a node will be preempted."""
        assert self._ask(f"drain {node}")["accepted"]

    def close(self) -> None:
        """End the cluster and its process."""
        self._process.communicate("", timeout=60)

    def _ask(self, line: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        while not (line := self._process.stdout.readline()).startswith("{"):
            assert line, "the cluster's process died"
        return json.loads(line)


def serve() -> None:
    """Run the cluster and obey commands."""
    import ray
    from ray.cluster_utils import Cluster
    from ray.core.generated import autoscaler_pb2

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes: dict[str, Any] = {}
    print(json.dumps({"address": cluster.address}), flush=True)
    for line in sys.stdin:
        verb, argument = line.split()
        answer: dict[str, Any] = {}
        if verb == "add":
            node = cluster.add_node(num_cpus=int(argument))
            answer["node"] = node.node_id
            nodes[node.node_id] = node
        elif verb == "remove":
            cluster.remove_node(nodes.pop(argument), allow_graceful=False)
        elif verb == "drain":
            reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
            client = ray._raylet.GcsClient(address=cluster.address)
            answer["accepted"] = client.drain_node(argument, reason, "for a test", 0)[0]
        print(json.dumps(answer), flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    serve()
