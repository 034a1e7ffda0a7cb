"""A job's pool of decoys: found in the output where it is frozen, read from a file, or drawn from the job's captions.

Promise: what an output has frozen for a seed, a phrase pipeline and a way of reading is never drawn again, whatever
became of the input; nothing is written before the run writes its job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field, ValidationError

from engine.ledger.commits import put_record, retried
from engine.ledger.fingerprint import reading_digest
from engine.reading.shard_cache import ShardStat
from engine.storage.filesystems import absolute_url, open_filesystem, reaching
from engine.storage.store import Store
from engine.task import DecoySpec, Factory
from pipelines.label.decoy_captions import draw
from pipelines.label.job import JobConfig
from pipelines.label.teacher_spec import Factories
from schemas.decoys import DecoyPool, pool_from_bytes, pool_path
from schemas.digests import digest_of, short
from schemas.errors import ConfigError, Conflict, NotFound
from schemas.ledger import FORMAT_VERSION
from schemas.records import Record
from teacher.decoys.pool import MAX_FILE_BYTES, pool_from_file

DRAW_VERSION = 1
"""To be raised when the same captions give another pool."""


class FrozenDraw(Record):
    """Says which pool an output has frozen for a draw."""

    format_version: str = FORMAT_VERSION
    draw: str = Field(description="digest of what decides a draw, but for the captions")
    pool: str = Field(description="digest of the pool")


@dataclass(frozen=True)
class PlannedDecoys:
    """The pool of a job, and how workers choose from it. `draw` is None for a pool that a file gives."""

    pool: DecoyPool
    spec: DecoySpec
    draw: str | None

    def record(self, store: Store) -> None:
        """Freeze the pool in the output. Raises Conflict when another run has just frozen another one."""
        path, data = pool_path(self.spec.pool), self.pool.to_bytes()
        retried(lambda: store.put_if_absent(path, data))
        pool_from_bytes(retried(lambda: store.read(path)), self.spec.pool, f"{store.url}/{path}")
        if self.draw is None:
            return
        frozen = FrozenDraw(draw=self.draw, pool=self.spec.pool)
        standing = _draw_record(put_record(store, _draw_path(self.draw), frozen), store, self.draw)
        if standing != frozen:
            raise Conflict(
                f"{store.url}: another run froze the pool of decoys {short(standing.pool)} just now, this one drew "
                f"{short(self.spec.pool)}: the input changed between; start again to use the frozen one"
            )


def plan_decoys(
    job: JobConfig, factories: Factories, finder: Factory, store: Store, shards: Sequence[ShardStat]
) -> PlannedDecoys | None:
    """The pool of a job and its chooser; None without decoys. Reads shards only where nothing is frozen yet.

    raises: ConfigError for a teacher that takes none, a pool that cannot be meant, and captions without a noun to draw
    """
    if not job.decoys.share:
        return None
    if not factories.takes_decoys(job):
        raise ConfigError(
            f"decoys: the teacher {factories.labeler} cannot be asked for them; set decoys.share: 0"
        )
    draw_digest = None if job.decoys.pool else _draw_digest(job, finder)
    if draw_digest is None:
        pool = _given(job, store)
    else:
        pool = _frozen(store, draw_digest) or draw(job.input, job.decoys.seed, finder, shards)
    if not pool.asked:
        raise ConfigError(
            f"decoys: none of the {len(pool.counts)} nouns of the pool may be a decoy (a fixed quarter of all nouns "
            "may, docs/decoys.md); give decoys.pool a longer list, or set decoys.share: 0"
        )
    digest = pool.digest()
    spec = DecoySpec(chooser=factories.of_decoys(job, digest), pool=digest)
    return PlannedDecoys(pool, spec, draw_digest)


def _draw_digest(job: JobConfig, finder: Factory) -> str:
    """Not over the shards: a job that reads more of them later keeps its pool, and with it what is labelled."""
    return digest_of([DRAW_VERSION, job.decoys.seed, finder.digest, reading_digest(job.input)])


def _draw_path(draw_digest: str) -> str:
    return f"decoys/frozen-{short(draw_digest)}.json"


def _frozen(store: Store, draw_digest: str) -> DecoyPool | None:
    try:
        data = store.read(_draw_path(draw_digest))
    except NotFound:
        return None
    digest = _draw_record(data, store, draw_digest).pool
    return _kept(store, digest)


def _draw_record(data: bytes, store: Store, draw_digest: str) -> FrozenDraw:
    path = f"{store.url}/{_draw_path(draw_digest)}"
    try:
        record = FrozenDraw.model_validate_json(data)
    except ValidationError as error:
        raise Conflict(f"{path} does not say which pool of decoys is frozen: {error}") from error
    if record.draw != draw_digest:
        raise Conflict(f"{path} is about another draw of decoys, {short(record.draw)}; restore it")
    return record


def _kept(store: Store, digest: str) -> DecoyPool:
    where = f"{store.url}/{pool_path(digest)}"
    try:
        return pool_from_bytes(store.read(pool_path(digest)), digest, where)
    except NotFound as error:
        raise Conflict(f"{where} was frozen and is gone; restore it from a copy of the output") from error


def _given(job: JobConfig, store: Store) -> DecoyPool:
    """The pool of `decoys.pool`: a file, or a digest, as a job that an output keeps names it."""
    name = job.decoys.pool
    assert name is not None
    if name.startswith("sha256:"):
        return _kept(store, name)
    where = absolute_url(name)
    filesystem, path = open_filesystem(where, job.input.storage)
    try:
        with reaching(where):
            if not filesystem.isfile(path):  # a device has no end
                raise FileNotFoundError(path)
            data = bytes(filesystem.cat_file(path, start=0, end=MAX_FILE_BYTES + 1))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFound(f"decoys.pool: {where} is no file; give one with a noun a line") from error
    return pool_from_file(data, job.decoys.seed, where)
