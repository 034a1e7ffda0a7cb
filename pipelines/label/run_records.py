"""The records that a run writes to its output before work begins: the resolved job and the frozen plan.

Both are named by digest and contain no time or host, so writing them again changes nothing.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from engine.ledger.records import first_problem, parse_record
from engine.reading.shard_cache import ShardStat
from engine.storage.store import Store
from engine.task import WorkerSpec
from pipelines.label.job import JobConfig
from schemas.arrow import SCHEMA_VERSION
from schemas.digests import digest_of, shorten_digest
from schemas.errors import ConfigError, ConflictError, NotFoundError
from schemas.ledger import FORMAT_VERSION, FailedUnit
from schemas.records import Record

_LIBRARIES = ("numpy", "pillow", "pyarrow", "fsspec", "pydantic")
_MAX_LISTED = 5


class JobRecord(Record):
    """The resolved job, and the digests and versions with which it was first run."""

    format_version: str = FORMAT_VERSION
    schema_version: str = SCHEMA_VERSION
    digest: str
    job: dict[str, Any]
    teacher: str
    phrases: str
    decoys: str | None = Field(None, description="digest of pool and rules; null without decoys")
    versions: dict[str, str]

    @classmethod
    def create(cls, job: JobConfig, spec: WorkerSpec) -> JobRecord:
        """Make the record of a job."""
        versions = {name: version(name) for name in _LIBRARIES}
        return cls(
            digest=job.digest(),
            job=job.identity(),
            teacher=spec.labeler.digest,
            phrases=spec.finder.digest,
            decoys=spec.decoys.chooser.digest if spec.decoys else None,
            versions={"python": ".".join(map(str, sys.version_info[:3])), **versions},
        )


class PlanRecord(Record):
    """The shards at the time of planning, and the teacher and phrases with which they are labeled."""

    format_version: str = FORMAT_VERSION
    job: str
    teacher: str | None = None
    phrases: str | None = None
    decoys: str | None = None
    shards: tuple[ShardStat, ...]
    missing: tuple[FailedUnit, ...]

    def digest(self) -> str:
        """Return `sha256:<hex>` of the plan."""
        later = {"decoys"} if self.decoys is None else None  # plans without decoys keep their digest
        return digest_of(self.model_dump(mode="json", exclude=later))

    def urls(self) -> list[str]:
        """Return the URL of every shard of the plan."""
        return [*(stat.url for stat in self.shards), *(unit.shard for unit in self.missing)]

    def check_unchanged(self, now: PlanRecord) -> None:
        """Raise ConflictError, with the differences, unless planning now gives this same plan."""
        before, after = ({stat.url: stat for stat in plan.shards} for plan in (self, now))
        names = {
            "job": "the job",
            "teacher": "the teacher",
            "phrases": "the phrase pipeline",
            "decoys": "the pool of decoys",
        }
        differences = [
            f"{text} is another one"
            for name, text in names.items()
            if getattr(self, name) != getattr(now, name)
        ]
        changed = [url for url in before if after.get(url) != before[url]]
        changed += [url for url in after if url not in before]
        differences += [
            f"{url} {'changed' if url in after else 'is missing'}" for url in changed[:_MAX_LISTED]
        ]
        differences += (
            [f"{len(changed) - _MAX_LISTED} more shards changed"] if len(changed) > _MAX_LISTED else []
        )
        if differences:
            raise ConflictError(
                f"the plan {shorten_digest(self.digest())} is out of date: {'; '.join(differences)}; make a new plan "
                "with `groundswell plan -o`"
            )


def load_plan(name: str, store: Store) -> PlanRecord:
    """Load a frozen plan: a file of `plan -o`, or the digest of a plan that a run recorded in the output.

    raises: NotFoundError; ConfigError if the file is not a plan; ConflictError if the output's record is not one
    """
    if not Path(name).is_file():
        return _load_recorded_plan(name, store)
    data = _parse_json(Path(name).read_bytes(), name)
    if isinstance(data, dict) and "plan" in data:
        data = data["plan"]
    try:
        return PlanRecord.model_validate(data)
    except ValidationError as error:
        raise ConfigError(
            f"{name} is not a plan ({first_problem(error)}); give a file that `groundswell plan -o` wrote"
        ) from None


def read_job(store: Store, digest: str) -> JobRecord:
    """Load the job that an output recorded. Raises NotFoundError, and ConflictError if the record is damaged."""
    path = f"jobs/{shorten_digest(digest)}.json"
    remedy = "move it away and run `groundswell label` with the job file, which writes it again"
    return parse_record(JobRecord, store.read(path), f"{store.url}/{path}", "the record of a job", remedy)


def _load_recorded_plan(name: str, store: Store) -> PlanRecord:
    path = f"plans/{shorten_digest(name)}.json"
    try:
        data = store.read(path)
    except NotFoundError as error:
        raise NotFoundError(
            f"--plan {name}: there is no such file, and no {path} in {store.url}; give a file of `groundswell plan -o`"
        ) from error
    remedy = "move it away and make a new plan with `groundswell plan -o`"
    return parse_record(PlanRecord, data, f"{store.url}/{path}", "a plan", remedy)


def _parse_json(data: bytes, name: str) -> object:
    try:
        parsed: object = json.loads(data)
        return parsed
    except ValueError as error:
        raise ConfigError(
            f"{name} is not JSON ({error}); give a file that `groundswell plan -o` wrote"
        ) from None
