"""What a run leaves beside its evidence before work begins: the job it was asked for and the plan it froze.

Both are named by digest and hold neither clock nor host, so writing them again changes nothing.
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
_SHOWN = 5


class JobRecord(Record):
    """The resolved job and the digests and versions under which it was first run."""

    format_version: str = FORMAT_VERSION
    schema_version: str = SCHEMA_VERSION
    digest: str
    job: dict[str, Any]
    teacher: str
    phrases: str
    decoys: str | None = Field(None, description="digest of pool and rules; none without decoys")
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
            decoys=spec.decoys.chooser.digest if spec.decoys else None,
            versions={"python": ".".join(map(str, sys.version_info[:3])), **versions},
        )


class PlanRecord(Record):
    """The shards as they were when a plan was made, and with what they are labelled."""

    format_version: str = FORMAT_VERSION
    job: str
    teacher: str | None = None
    phrases: str | None = None
    decoys: str | None = None
    shards: tuple[ShardStat, ...]
    missing: tuple[FailedUnit, ...]

    def digest(self) -> str:
        """`sha256:<hex>` of the plan."""
        later = {"decoys"} if self.decoys is None else None  # plans without decoys keep their digest
        return digest_of(self.model_dump(mode="json", exclude=later))

    def urls(self) -> list[str]:
        """Every shard of the plan."""
        return [*(stat.url for stat in self.shards), *(unit.shard for unit in self.missing)]

    def check_holds(self, now: PlanRecord) -> None:
        """Raise ConflictError unless a look at the world now gives this very plan, and say what differs."""
        before, after = ({stat.url: stat for stat in plan.shards} for plan in (self, now))
        names = {
            "job": "the job",
            "teacher": "the teacher",
            "phrases": "the phrase pipeline",
            "decoys": "the pool of decoys",
        }
        said = [
            f"{text} is another one"
            for name, text in names.items()
            if getattr(self, name) != getattr(now, name)
        ]
        changed = [url for url in before if after.get(url) != before[url]]
        changed += [url for url in after if url not in before]
        said += [f"{url} {'changed' if url in after else 'is not there'}" for url in changed[:_SHOWN]]
        said += [f"{len(changed) - _SHOWN} more shards changed"] if len(changed) > _SHOWN else []
        if said:
            raise ConflictError(
                f"the plan {shorten_digest(self.digest())} no longer holds: {'; '.join(said)}; plan anew"
            )


def load_plan(name: str, store: Store) -> PlanRecord:
    """A frozen plan: a file that `plan -o` wrote, or the digest of one that a run left in the output.

    raises: NotFoundError, ConfigError for a file that is no plan, ConflictError for a record of the output that is none
    """
    if not Path(name).is_file():
        return _kept_plan(name, store)
    data: Any = _json(Path(name).read_bytes(), name)
    data = data.get("plan") if isinstance(data, dict) and "plan" in data else data
    try:
        return PlanRecord.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{name} is no plan of `groundswell plan -o`: {first_problem(error)}") from None


def read_job(store: Store, digest: str) -> JobRecord:
    """The job that was kept in an output. Raises NotFoundError, and ConflictError for a record that is none."""
    path = f"jobs/{shorten_digest(digest)}.json"
    remedy = "move it away and run `groundswell label` with the job's file, which writes it anew"
    return parse_record(JobRecord, store.read(path), f"{store.url}/{path}", "the record of a job", remedy)


def _kept_plan(name: str, store: Store) -> PlanRecord:
    path = f"plans/{shorten_digest(name)}.json"
    try:
        data = store.read(path)
    except NotFoundError as error:
        raise NotFoundError(f"--plan {name}: no such file, and no {path} in {store.url}") from error
    remedy = "move it away and plan anew (`groundswell plan -o`)"
    return parse_record(PlanRecord, data, f"{store.url}/{path}", "a plan", remedy)


def _json(data: bytes, name: str) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise ConfigError(f"{name} is not JSON: {error}; expected a plan of `groundswell plan -o`") from None
