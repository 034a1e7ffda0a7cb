"""What a run leaves beside its evidence before work begins: the job it was asked for and the plan it froze.

Both are named by digest and hold neither clock nor host, so writing them again changes nothing.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Any

from engine.reading.spool import ShardStat
from engine.work.tasks import WorkerSpec
from pipelines.label.job import JobConfig
from schemas.arrow import SCHEMA_VERSION
from schemas.digests import digest_of
from schemas.ledger import FORMAT_VERSION, FailedUnit
from schemas.records import Record

_LIBRARIES = ("numpy", "pillow", "pyarrow", "fsspec", "pydantic")


class JobRecord(Record):
    """The resolved job and the digests and versions under which it was first run."""

    format_version: str = FORMAT_VERSION
    schema_version: str = SCHEMA_VERSION
    digest: str
    job: dict[str, Any]
    teacher: str
    phrases: str
    versions: dict[str, str]

    @classmethod
    def of(cls, job: JobConfig, spec: WorkerSpec) -> JobRecord:
        """The record of a job."""
        versions = {name: version(name) for name in _LIBRARIES}
        return cls(
            digest=job.digest(),
            job=job.identity(),
            teacher=spec.labeler.digest,
            phrases=spec.finder.digest,
            versions={"python": ".".join(map(str, sys.version_info[:3])), **versions},
        )


class PlanRecord(Record):
    """The shards as they were when a run began."""

    format_version: str = FORMAT_VERSION
    job: str
    shards: tuple[ShardStat, ...]
    missing: tuple[FailedUnit, ...]

    def digest(self) -> str:
        """`sha256:<hex>` of the plan."""
        return digest_of(self.model_dump(mode="json"))
