"""`label` dies before or after any write. The same job again gives the result of an undisturbed run.

Here the job's and the plan's records and the real workers take part. tests/suites/ledger/test_kills.py kills real
processes at every line of the ledger.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.ledger.verify import verify
from engine.storage.store import Store
from pipelines.label.job import JobConfig
from pipelines.label.run import label
from tests.engine.decoy_worlds import animal_captions, decoy_job
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import data_files, job_of, picture, plain_captions, write_shard


class Killed(BaseException):
    """The end of a process, as far as our code can tell: nothing may catch it."""


class MortalStores:
    """Lets every store die at one write: before it or after it, and at every later one."""

    def __init__(self, die_at: int | None, arrives: bool) -> None:
        self.writes, self._die_at, self._arrives = 0, die_at, arrives

    def wrap(self, write):
        def mortal(store: Store, path: str, data: bytes):
            self.writes += 1
            dead = self._die_at is not None and self.writes >= self._die_at
            if not dead:
                return write(store, path, data)
            if self._arrives and self.writes == self._die_at:
                write(store, path, data)
            raise Killed

        return mortal

    def install(self, patch: pytest.MonkeyPatch) -> MortalStores:
        patch.setattr(Store, "put", self.wrap(Store.put))
        patch.setattr(Store, "put_if_absent", self.wrap(Store.put_if_absent))
        return self


def snapshots_add_up(output: Path) -> bool:
    return not (output / "snapshots").exists() or bool(verify(str(output)))


def plain_job(folder: Path, name: str) -> JobConfig:
    shards = [write_shard(folder / f"{n}.tar", [*plain_captions(3), "silent", "?!"]) for n in range(2)]
    return job_of(folder, shards, input={"unit_samples": 3}, output={"url": str(folder / name)})


def folder_job(folder: Path, name: str) -> JobConfig:
    """Return a job over two folders of images, some of which are rejected."""
    for below, captions in ((folder / "web", plain_captions(4)), (folder / "web" / "b", plain_captions(5))):
        below.mkdir(exist_ok=True)
        for number, caption in enumerate(captions):
            if not (below / f"{number}.png").exists():
                (below / f"{number}.png").write_bytes(picture())
                (below / f"{number}.txt").write_text(caption)
    (folder / "web" / "b" / "0.txt").unlink(missing_ok=True)
    section = {"format": "folder", "unit_samples": 3}
    return job_of(folder, [folder / "web"], input=section, output={"url": str(folder / name)})


def job_with_decoys(folder: Path, name: str) -> JobConfig:
    """Return a job whose pool is drawn and frozen between planning and labeling."""
    shards = [write_shard(folder / f"{n}.tar", [*animal_captions(4), "silent"]) for n in range(2)]
    return decoy_job(folder, shards, input={"unit_samples": 3}, output={"url": str(folder / name)})


@pytest.mark.parametrize("made", [plain_job, folder_job, job_with_decoys])
@pytest.mark.parametrize(
    "every", [pytest.param(1, marks=pytest.mark.slow, id="all"), pytest.param(4, id="share")]
)
def test_a_death_at_any_write_is_made_good_by_the_same_command(
    tmp_path: Path, every: int, made: Callable[[Path, str], JobConfig]
) -> None:
    def job(name: str) -> JobConfig:
        return made(tmp_path, name)

    with pytest.MonkeyPatch.context() as patch:
        writes = MortalStores(None, False).install(patch)
        undisturbed = label(job("undisturbed"), factories=FACTORIES)

    assert writes.writes > 15
    for die_at in range(1, writes.writes + 1, every):
        for arrives in (False, True):
            name = f"{die_at}-{arrives}"
            with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
                MortalStores(die_at, arrives).install(patch)
                label(job(name), factories=FACTORIES)
            assert snapshots_add_up(tmp_path / name)

            assert label(job(name), factories=FACTORIES)["digest"] == undisturbed["digest"]
            assert data_files(tmp_path / name) == data_files(tmp_path / "undisturbed")
            assert verify(str(tmp_path / name))["units"]["committed"] == 4
