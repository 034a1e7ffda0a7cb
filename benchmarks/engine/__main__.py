"""Engine, bare loops and Ray Data on the same shards, one after the other, round by round.

    python -m benchmarks.engine              # what `make bench-engine` runs; about five minutes on two idle cores
    python -m benchmarks.engine --shards 4 --samples 50 --rounds 1      # a look

Each round runs all contestants; ratios are taken within a round. `bare` is the floor: single-threaded loops, one
process per core, without ledger, recovery or checks.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.engine import bare, ours, ray_data
from benchmarks.engine.protocol import protocol_lines
from benchmarks.engine.world import write_shards


def main(arguments: list[str] | None = None) -> None:
    """Print images/s of each program and its share of the bare loops' rate, per round and as medians."""
    options = _options(arguments)
    with tempfile.TemporaryDirectory(prefix="groundswell-bench-") as folder:
        shards = write_shards(Path(folder, "shards"), options.shards, options.samples)
        rounds = [_round(number, shards, Path(folder), options) for number in range(options.rounds)]
        for name in rounds[0]:
            rates = [each[name] for each in rounds]
            shares = [each[name] / each["bare loops"] for each in rounds]
            print(
                f"{name:32} {statistics.median(rates):7.1f} images/s  {statistics.median(shares):.3f} of bare loops"
            )
        for line in protocol_lines(Path(folder), options.commits):
            print(line, flush=True)
    if options.out:
        Path(options.out).write_text(
            json.dumps({"options": vars(options), "rounds": rounds}, indent=1) + "\n"
        )


def _round(number: int, shards: list[Path], folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Images per second of each contestant."""
    from engine.executors.ray_cluster import cluster

    images = options.shards * options.samples
    place = folder / f"round-{number}"
    common: dict[str, Any] = {"megabytes": options.megabytes, "batch_size": options.batch_size}
    took = {"bare loops": bare.seconds(shards, place / "bare", options.processes, **common)}
    assert bare.rows_of(place / "bare") == images
    with cluster():
        config = ours.job(
            shards, place / "engine", options.processes, unit_samples=options.unit_samples, **common
        )
        took["engine"], took["engine, starting actors too"] = ours.seconds(config)
        if not options.without_ray_data:
            took["Ray Data, starting actors too"] = ray_data.seconds(
                shards, place / "ray", options.processes, **common
            )
            assert bare.rows_of(place / "ray") == images
    rates = {name: images / seconds for name, seconds in took.items()}
    per_image_ms = 1000 * options.processes / rates["bare loops"]
    print(f"round {number}: {rates} (a bare loop takes {per_image_ms:.1f} ms per image)", flush=True)
    return rates


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--samples", type=int, default=250, help="images per shard")
    parser.add_argument("--unit-samples", type=int, default=125)
    parser.add_argument("--processes", type=int, default=2, help="bare loops, and teacher actors")
    parser.add_argument("--megabytes", type=int, default=30, help="hashing per image; 30 are at least 20 ms")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--commits", type=int, default=20, help="units that are committed, one by one")
    parser.add_argument("--without-ray-data", action="store_true")
    parser.add_argument("--out", help="a JSON file for the figures")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
