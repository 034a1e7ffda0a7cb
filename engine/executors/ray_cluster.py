"""The Ray cluster of a run: an own one, or a running one that is reached and must ask for a token.

Promise: no code of ours is sent to a cluster that lets strangers in, unless the user says so; our own cluster has a
token that only this user can read. What Ray tells of nodes is read here and nowhere else.
"""

from __future__ import annotations

import functools
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import grpc
import ray
from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc
from ray.exceptions import RayActorError, RayError

from engine.executors.cluster_token import provide_token
from engine.executors.ray_processes import own_cluster_ends, own_processes, sigterm_kept
from engine.settings import RunSettings
from engine.worker.import_check import package_root
from schemas.errors import RuntimeEnvironmentError

log = logging.getLogger(__name__)
_REACH_S = 10.0
_DENIED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


@contextmanager
def cluster(address: str | None = None, allow_unauthenticated: bool = False) -> Iterator[None]:
    """A Ray cluster for the duration: the one this process is connected to, the one at `address`, or an own one.

    address: host:port or `auto`; none: RAY_ADDRESS, and without that a cluster of one that ends with the block
    raises:  RuntimeEnvironmentError when no cluster answers at the address, or one that asks nobody for a token
    """
    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS") or None
    with own_processes() if address is None else nullcontext():
        try:
            with sigterm_kept():
                _connect(address)
            if address is not None and not allow_unauthenticated:
                refuse_open_cluster(ray.get_runtime_context().gcs_address)
            yield
        finally:
            own_cluster_ends()
            with sigterm_kept():
                ray.shutdown()


def refuse_open_cluster(gcs_address: str) -> None:
    """Raise RuntimeEnvironmentError when the cluster answers a request that carries no token."""
    if os.environ.get("RAY_USE_TLS") == "1":
        return  # both sides show certificates
    services: Any = gcs_service_pb2_grpc  # generated code carries no types
    messages: Any = gcs_service_pb2
    with grpc.insecure_channel(gcs_address) as channel:
        stub = services.NodeInfoGcsServiceStub(channel)
        try:
            stub.GetAllNodeInfo(messages.GetAllNodeInfoRequest(), timeout=_REACH_S)
        except grpc.RpcError as error:
            if error.code() not in _DENIED:
                log.warning("whether %s wants a token is unknown: %s", gcs_address, error.details())
            return
    raise RuntimeEnvironmentError(
        f"the Ray cluster at {gcs_address} answers without a token, so whoever reaches it runs code on it, with your "
        "credentials; start it with RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH on every node (docs/cluster.md), or "
        "accept that with --insecure-cluster (run.allow_unauthenticated: true)"
    )


def draining_nodes() -> set[str]:
    """Ids of nodes that were told to go: preempted, or scaled down. Empty where Ray does not tell."""
    try:
        return set(ray._private.state.state.get_draining_nodes())
    except AttributeError:  # not part of Ray's stable interface
        _tell_of_no_draining()
    except (RayError, ConnectionError):
        pass
    return set()


@functools.cache
def _tell_of_no_draining() -> None:
    """Once in a process."""
    log.warning(
        "Ray %s does not tell which nodes are to go: actors work there until they are killed, and their units are "
        "done again elsewhere",
        ray.__version__,
    )


def lost_with_its_node(error: RayActorError, node: str) -> bool:
    """Whether an actor went because its place went or it was asked to, which is no unit's fault."""
    told = str(error)
    if error.preempted or "SIGTERM" in told or "node has died" in told or "node was terminated" in told:
        return True
    known: Any = ray  # its `nodes` carries no types
    return bool(node) and node not in {found["NodeID"] for found in known.nodes() if found["Alive"]}


def arithmetic(run: RunSettings, placed: int) -> str:
    """Why `run.actors.min` actors find no place: what they ask for and what there is."""
    known: Any = ray  # its resource functions carry no types
    have, free = known.cluster_resources(), known.available_resources()
    return (
        f"{placed} of {run.actors.min} teacher actors found a place in {run.placement_timeout_s:.0f} s. Each asks "
        f"for {run.cpus_per_actor:g} CPU and {run.gpus_per_actor:g} GPU; the cluster has {have.get('CPU', 0):g} "
        f"CPU and {have.get('GPU', 0):g} GPU, free are {free.get('CPU', 0):g} and {free.get('GPU', 0):g}. Lower "
        "run.actors.min, run.cpus_per_actor or run.gpus_per_actor, or add nodes"
    )


def _connect(address: str | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # one thread gives equal bytes; actors are the parallelism
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        provide_token()
        options |= {"address": "local", "include_dashboard": False}
    else:
        check_reachable(address)
        environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": package_root()}
        options |= {"address": address, "runtime_env": {"env_vars": environment}}
    before = os.getcwd()
    os.chdir(package_root())  # Ray puts the current directory first on the workers' path
    try:
        ray.init(**options)
    except Exception as error:  # a node that does not come up in time is told with a bare Exception
        raise RuntimeEnvironmentError(
            f"no Ray cluster at {address or 'this machine'}: {error}; a cluster that was started with a token wants "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH here too (docs/cluster.md)"
        ) from error
    finally:
        os.chdir(before)


def check_reachable(address: str) -> None:
    """Raise RuntimeEnvironmentError at once where nothing listens; Ray itself would try for two minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACH_S).close()
    except OSError as error:
        raise RuntimeEnvironmentError(
            f"nothing answers at {address} ({error}); give host:port of a Ray head (`ray start --head`), or leave the "
            "address out and a cluster of this machine is started"
        ) from error
