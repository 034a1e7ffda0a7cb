"""The fields of a KubeRay RayJob that our manifests use, as strict models: an unknown key is an error.

Field names and meanings are those of KubeRay 1.7 (ray.io/v1). Pod templates stay plain mappings: the test validates
them against the Kubernetes schemas themselves.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Manifest(BaseModel):
    """Base: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")


class Metadata(Manifest):
    """Name and labels of an object."""

    name: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=47)
    namespace: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)


class AuthOptions(Manifest):
    """Token authentication; the operator makes the Secret and sets the variables."""

    mode: Literal["token", "disabled"]


class AutoscalerOptions(Manifest):
    """How the in-tree autoscaler behaves."""

    version: Literal["v1", "v2"] | None = None
    idleTimeoutSeconds: int = Field(60, ge=1)
    upscalingMode: Literal["Default", "Conservative", "Aggressive"] = "Default"


class HeadGroup(Manifest):
    """The head: values of `rayStartParams` are strings."""

    rayStartParams: dict[str, str] = Field(default_factory=dict)
    template: dict[str, Any]


class WorkerGroup(Manifest):
    """A group of like workers."""

    groupName: str
    replicas: int = Field(ge=0)
    minReplicas: int = Field(ge=0)
    maxReplicas: int = Field(ge=1)
    rayStartParams: dict[str, str] = Field(default_factory=dict)
    template: dict[str, Any]

    @model_validator(mode="after")
    def _in_order(self) -> WorkerGroup:
        if not self.minReplicas <= self.replicas <= self.maxReplicas:
            raise ValueError(
                f"{self.groupName}: replicas ({self.replicas}) must be between {self.minReplicas} and "
                f"{self.maxReplicas}"
            )
        return self


class RayClusterSpec(Manifest):
    """A cluster: one head, worker groups."""

    rayVersion: str
    authOptions: AuthOptions
    enableInTreeAutoscaling: bool = False
    autoscalerOptions: AutoscalerOptions | None = None
    headGroupSpec: HeadGroup
    workerGroupSpecs: list[WorkerGroup] = Field(min_length=1)


class RayJobSpec(Manifest):
    """A job on a cluster of its own."""

    entrypoint: str
    entrypointNumCpus: float | None = None
    submissionMode: Literal["K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode"] = "K8sJobMode"
    backoffLimit: int = Field(0, ge=0, description="each retry is a new cluster")
    activeDeadlineSeconds: int | None = None
    preRunningDeadlineSeconds: int | None = None
    shutdownAfterJobFinishes: bool = False
    ttlSecondsAfterFinished: int = Field(0, ge=0)
    rayClusterSpec: RayClusterSpec

    @model_validator(mode="after")
    def _ends(self) -> RayJobSpec:
        if self.ttlSecondsAfterFinished and not self.shutdownAfterJobFinishes:
            raise ValueError("ttlSecondsAfterFinished has no effect without shutdownAfterJobFinishes: true")
        return self


class RayJob(Manifest):
    """The whole object."""

    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayJob"]
    metadata: Metadata
    spec: RayJobSpec
