"""Pools of decoys from a file: a file that is not a list of nouns is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.label.run import label
from schemas.errors import ConfigError
from tests.engine.decoy_worlds import animal_captions, decoy_job
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import write_shard


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"lion. a dog on the left\n", "not a noun that a prompt can ask for"),
        (b"lion\nlion\n", "occurs twice"),
        (b"lion\t-3\n", "expected a noun"),
        (b"lion\t1\t2\n", "expected a noun"),
        (b"lion\t" + b"9" * 400, "expected a noun"),
        (b"lion\t0\n", "expected 1 to"),
        (b"dog\x00\n", "not a noun that a prompt can ask for"),
        (b"\xe2\x80\xaelion\n", "not a noun that a prompt can ask for"),
        (b"x" * 5_000_000, "more than"),
        (b"[" * 100_000, "not a noun that a prompt can ask for"),
        (b'{"counts":' + b"[" * 200_000, "decoys.pool"),
        (b'{"counts": {"lion": 1}, "asked": ["cat"]}', "must be nouns of"),
        (b'{"counts": {"dog": 1}, "asked": ["dog"]}', "may be a training negative"),
        (b'{"counts": {"lion": 1}, "asked": [], "more": 1}', "Extra inputs"),
        (b"", "none of the 0 nouns"),
    ],
)  # fmt: skip
def test_a_hostile_pool_file_is_refused_by_name(tmp_path: Path, content: bytes, said: str) -> None:
    shard = write_shard(tmp_path / "a.tar", animal_captions(3))
    path = tmp_path / "pool.txt"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=said):
        label(decoy_job(tmp_path, [shard], decoys={"pool": str(path)}), factories=FACTORIES)
