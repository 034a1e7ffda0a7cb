"""Find a job's pool of decoys: frozen in the output, read from a file, or drawn from the job's captions.

A pool that an output has frozen for a seed, a phrase pipeline and reading settings is never drawn again, even if the
input has changed. Nothing is written before the run writes its job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field, ValidationError

from engine.ledger.commits import put_record
from engine.ledger.fingerprint import reading_digest
from engine.reading.shard_cache import ShardStat
from engine.storage.filesystems import absolute_url, open_filesystem, translate_store_errors
from engine.storage.retry import run_with_retries
from engine.storage.store import Store
from engine.task import DecoySpec, Factory
from pipelines.label.decoy_captions import draw_pool
from pipelines.label.job import JobConfig
from pipelines.label.teacher_spec import Factories
from schemas.decoys import DecoyPool, parse_pool, pool_path
from schemas.digests import digest_of, shorten_digest
from schemas.errors import ConfigError, ConflictError, NotFoundError
from schemas.ledger import FORMAT_VERSION
from schemas.records import Record
from teacher.decoys.pool import MAX_FILE_BYTES, pool_from_file

DRAW_VERSION = 1
"""Raise it when the same captions give another pool."""


class FrozenDraw(Record):
    """The pool that an output has frozen for a draw."""

    format_version: str = FORMAT_VERSION
    draw: str = Field(description="digest of what decides a draw, except the captions")
    pool: str = Field(description="digest of the pool")


@dataclass(frozen=True)
class DecoyPlan:
    """The pool of a job, and how workers choose from it. `draw` is None for a pool from a file."""

    pool: DecoyPool
    spec: DecoySpec
    draw: str | None

    def freeze(self, store: Store) -> None:
        """Write the pool to the output. Raises ConflictError when another run has just frozen another one."""
        path, data = pool_path(self.spec.pool), self.pool.to_bytes()
        run_with_retries(lambda: store.put_if_absent(path, data))
        parse_pool(run_with_retries(lambda: store.read(path)), self.spec.pool, f"{store.url}/{path}")
        if self.draw is None:
            return
        frozen = FrozenDraw(draw=self.draw, pool=self.spec.pool)
        winner = _parse_draw(put_record(store, _draw_path(self.draw), frozen), store, self.draw)
        if winner != frozen:
            raise ConflictError(
                f"{store.url}: another run has just frozen the pool of decoys {shorten_digest(winner.pool)}, this run "
                f"drew {shorten_digest(self.spec.pool)}, because the input changed in between; run the same command "
                "again to use the frozen one"
            )


def plan_decoys(
    job: JobConfig, factories: Factories, finder: Factory, store: Store, shards: Sequence[ShardStat]
) -> DecoyPlan | None:
    """Return the pool of a job and its chooser; None without decoys. Reads shards only if nothing is frozen yet.

    raises: ConfigError for a teacher that takes no decoys, an unusable pool, and captions without a usable noun
    """
    if not job.decoys.share:
        return None
    if not factories.takes_decoys(job):
        raise ConfigError(
            f"decoys: the teacher {job.teacher.kind} does not support them; set decoys.share: 0"
        )
    draw_digest = None if job.decoys.pool else _draw_digest(job, finder)
    if draw_digest is None:
        pool = _load_given(job, store)
    else:
        pool = _load_frozen(store, draw_digest) or draw_pool(job.input, job.decoys.seed, finder, shards)
    if not pool.asked:
        raise ConfigError(
            f"decoys: none of the {len(pool.counts)} nouns of the pool may be a decoy (only a fixed quarter of all "
            "nouns may, see docs/decoys.md); give decoys.pool a longer list, or set decoys.share: 0"
        )
    digest = pool.digest()
    spec = DecoySpec(chooser=factories.of_decoys(job, digest), pool=digest)
    return DecoyPlan(pool, spec, draw_digest)


def _draw_digest(job: JobConfig, finder: Factory) -> str:
    """Return the digest of a draw. It leaves out the shards, so that a job that reads more of them keeps its pool."""
    return digest_of([DRAW_VERSION, job.decoys.seed, finder.digest, reading_digest(job.input)])


def _draw_path(draw_digest: str) -> str:
    return f"decoys/frozen-{shorten_digest(draw_digest)}.json"


def _load_frozen(store: Store, draw_digest: str) -> DecoyPool | None:
    try:
        data = store.read(_draw_path(draw_digest))
    except NotFoundError:
        return None
    return _load_pool(store, _parse_draw(data, store, draw_digest).pool)


def _parse_draw(data: bytes, store: Store, draw_digest: str) -> FrozenDraw:
    path = f"{store.url}/{_draw_path(draw_digest)}"
    try:
        record = FrozenDraw.model_validate_json(data)
    except ValidationError as error:
        raise ConflictError(f"{path} is damaged ({error}); restore it from a copy of the output") from error
    if record.draw != draw_digest:
        raise ConflictError(
            f"{path} records another draw of decoys, {shorten_digest(record.draw)}; restore it from a copy of the "
            "output"
        )
    return record


def _load_pool(store: Store, digest: str) -> DecoyPool:
    where = f"{store.url}/{pool_path(digest)}"
    try:
        return parse_pool(store.read(pool_path(digest)), digest, where)
    except NotFoundError as error:
        raise ConflictError(f"{where} is missing; restore it from a copy of the output") from error


def _load_given(job: JobConfig, store: Store) -> DecoyPool:
    """Load the pool of `decoys.pool`: a file, or the digest by which a recorded job names it."""
    name = job.decoys.pool
    assert name is not None
    if name.startswith("sha256:"):
        return _load_pool(store, name)
    where = absolute_url(name)
    filesystem, path = open_filesystem(where, job.input.storage)
    try:
        with translate_store_errors(where):
            if not filesystem.isfile(path):  # a device has no end
                raise FileNotFoundError(path)
            data = bytes(filesystem.cat_file(path, start=0, end=MAX_FILE_BYTES + 1))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFoundError(
            f"decoys.pool: {where} is not a file; give a file with one noun per line"
        ) from error
    return pool_from_file(data, job.decoys.seed, where)
