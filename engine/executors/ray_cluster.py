"""The Ray cluster of a run: its own, or a running one, which must ask for a token.

Our code is not sent to a cluster that lets anybody in, unless the user allows it. Our own cluster has a token that
only this user can read. What Ray says about nodes is read in this file only.
"""

from __future__ import annotations

import functools
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TypedDict, cast

import grpc
import ray
from ray.exceptions import RayActorError, RayError

from engine.executors.cluster_token import provide_token
from engine.executors.ray_processes import forget_own_cluster, keep_sigterm, own_processes
from engine.settings import RunSettings
from engine.worker.import_check import package_root
from schemas.errors import RuntimeEnvironmentError

log = logging.getLogger(__name__)
_REACH_S = 10.0
NODES_METHOD = "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo"
_DENIED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


@contextmanager
def cluster(address: str | None = None, allow_unauthenticated: bool = False) -> Iterator[None]:
    """Connect to a Ray cluster for the duration of the block.

    The cluster is the one this process is connected to, else the one at `address`, else a new one on this machine that
    ends with the block.
    address: host:port or `auto`; none: RAY_ADDRESS, if it is set
    raises:  RuntimeEnvironmentError if no cluster answers at the address, or one that needs no token
    """
    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS") or None
    with own_processes() if address is None else nullcontext():
        try:
            with keep_sigterm():
                _connect(address)
            if address is not None and not allow_unauthenticated:
                refuse_open_cluster(ray.get_runtime_context().gcs_address)
            yield
        finally:
            forget_own_cluster()
            with keep_sigterm():
                ray.shutdown()


def refuse_open_cluster(gcs_address: str) -> None:
    """Raise RuntimeEnvironmentError unless the cluster denies a request without a token.

    An answer that proves nothing is an error too, so that a renamed method or a proxy cannot open the check.
    """
    if os.environ.get("RAY_USE_TLS") == "1":
        return  # both sides present certificates
    with grpc.insecure_channel(gcs_address) as channel:
        call = channel.unary_unary(NODES_METHOD)
        try:
            call(b"", timeout=_REACH_S)  # an empty request has no bytes
        except grpc.RpcError as error:
            if error.code() in _DENIED:
                return
            raise RuntimeEnvironmentError(
                f"cannot tell whether the Ray cluster at {gcs_address} needs a token: expected UNAUTHENTICATED, got "
                f"{error.code().name} ({error.details()}). Check that the address is a head of Ray {ray.__version__} "
                "that this machine reaches without a proxy (no_proxy), or accept the risk with --insecure-cluster "
                "(run.allow_unauthenticated: true)"
            ) from error
    raise RuntimeEnvironmentError(
        f"the Ray cluster at {gcs_address} answers without a token: anybody who reaches it can run code on it with "
        "your credentials. Start it with RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH on every node "
        "(docs/cluster.md), or accept the risk with --insecure-cluster (run.allow_unauthenticated: true)"
    )


def draining_nodes() -> set[str]:
    """Return the ids of nodes that are about to go: preempted, or scaled down. Empty if Ray does not report them."""
    try:
        return set(ray._private.state.state.get_draining_nodes())
    except AttributeError:  # not part of Ray's stable interface
        _warn_of_no_draining()
    except (RayError, ConnectionError):
        pass
    return set()


@functools.cache
def _warn_of_no_draining() -> None:
    """Warn once per process."""
    log.warning(
        "Ray %s does not report draining nodes; actors run there until they are killed, and their units are redone "
        "elsewhere",
        ray.__version__,
    )


def is_lost_with_node(error: RayActorError, node: str) -> bool:
    """Return whether an actor died because its node went or because it was asked to end: no unit is to blame."""
    text = str(error)
    if error.preempted or "SIGTERM" in text or "node has died" in text or "node was terminated" in text:
        return True
    return bool(node) and node not in {found["NodeID"] for found in _list_nodes() if found["Alive"]}


def explain_placement(run: RunSettings, placed: int) -> str:
    """Return why `run.actors.min` actors are not placed: what they ask for and what the cluster has."""
    total, free = cluster_resources(), free_resources()
    return (
        f"only {placed} of {run.actors.min} teacher actors started within {run.placement_timeout_s:.0f} s "
        f"(run.placement_timeout_s). Each needs {run.cpus_per_actor:g} CPU and {run.gpus_per_actor:g} GPU; the cluster "
        f"has {total.get('CPU', 0):g} CPU and {total.get('GPU', 0):g} GPU, of which {free.get('CPU', 0):g} CPU and "
        f"{free.get('GPU', 0):g} GPU are free. Lower run.actors.min, run.cpus_per_actor or run.gpus_per_actor, or add "
        "nodes"
    )


def cluster_resources() -> dict[str, float]:
    """Return the resources of the whole cluster by name."""
    return cast(Callable[[], dict[str, float]], ray.cluster_resources)()


def free_resources() -> dict[str, float]:
    """Return the unused resources of the cluster by name."""
    return cast(Callable[[], dict[str, float]], ray.available_resources)()


class _Node(TypedDict):
    """What is read of Ray's record of a node."""

    NodeID: str
    Alive: bool


def _list_nodes() -> list[_Node]:
    return cast(Callable[[], list[_Node]], ray.nodes)()


def _connect(address: str | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # one thread gives equal bytes; actors are the parallelism
    connect = functools.partial(ray.init, log_to_driver=False, logging_level=logging.ERROR)
    if address is None:
        provide_token()
        connect = functools.partial(connect, address="local", include_dashboard=False)
    else:
        check_reachable(address)
        environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": package_root()}
        connect = functools.partial(connect, address=address, runtime_env={"env_vars": environment})
    before = os.getcwd()
    os.chdir(package_root())  # Ray puts the current directory first on the workers' path
    try:
        connect()
    except Exception as error:  # Ray reports a node that does not start in time with a bare Exception
        raise RuntimeEnvironmentError(
            f"no Ray cluster at {address or 'this machine'}: {error}; a cluster that was started with a token needs "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH here too (docs/cluster.md)"
        ) from error
    finally:
        os.chdir(before)


def check_reachable(address: str) -> None:
    """Raise RuntimeEnvironmentError at once if nothing listens there. Ray itself would try for two minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACH_S).close()
    except OSError as error:
        raise RuntimeEnvironmentError(
            f"cannot connect to {address} ({error}); give host:port of a Ray head (`ray start --head`), or omit "
            "--address, run.address and RAY_ADDRESS to start a cluster on this machine"
        ) from error
