"""The table `outcomes.csv`: the outcome of every file of ../shared/data/nasty and foreign_shards.

`python -m tests.reading.test_hostile_files DATA` writes the table anew; then review its diff line by line.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from schemas.codes import SAMPLE_CODES, SHARD_CODES

TABLE = Path(__file__).with_name("outcomes.csv")
MAX_GROWTH_MIB = 200


def labeled_in_a_child(data: Path, folder: Path) -> dict:
    command = [sys.executable, "-m", "tests.reading.hostile_world", str(data), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def world(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    return labeled_in_a_child(shared_data, tmp_path_factory.mktemp("hostile"))


def table() -> dict[str, str]:
    with open(TABLE, newline="", encoding="utf-8") as file:
        return {row["file"]: row["outcome"] for row in csv.DictReader(file)}


def test_every_hostile_file_ends_as_the_table_says(world: dict) -> None:
    expected = table()

    differing = {
        name: (world["outcomes"].get(name), expected.get(name))
        for name in world["outcomes"].keys() | expected.keys()
        if world["outcomes"].get(name) != expected.get(name)
    }

    assert differing == {}
    assert len(expected) > 390


def test_reading_all_of_them_takes_little_memory(world: dict) -> None:
    assert world["grown_mib"] < MAX_GROWTH_MIB


def test_every_file_of_the_folders_stands_in_the_table(shared_data: Path) -> None:
    from tests.reading.hostile_world import NO_INPUT

    folders = (shared_data / "nasty", shared_data / "foreign_shards")
    files = {
        str(path.relative_to(shared_data))
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    }
    listed = {name.split(".json/")[0] + ".json" if ".json/" in name else name for name in table()}

    left = {name for name in files - listed if Path(name).name not in NO_INPUT}
    assert {Path(name).name for name in left} == {
        "OBSERVED_images.csv",
        "OBSERVED_parquet.csv",
        "OBSERVED_tar.csv",
        "blns_LICENSE",
    }


def test_the_tables_outcomes_are_counts_of_codes() -> None:
    for name, outcome in table().items():
        if outcome in SHARD_CODES or outcome == "no samples":
            continue
        for part in outcome.split(", "):
            count, fate = part.split(" ")
            assert int(count) > 0 and (fate == "kept" or fate in SAMPLE_CODES), (name, part)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        found = labeled_in_a_child(Path(sys.argv[1]), Path(scratch))
    with open(TABLE, "w", newline="", encoding="utf-8") as target:
        csv.writer(target, lineterminator="\n").writerows([("file", "outcome"), *found["outcomes"].items()])
    print(
        f"{len(found['outcomes'])} files, {found['grown_mib']:.0f} MiB more at the peak, {found['seconds']:.1f} s"
    )
