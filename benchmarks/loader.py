"""Samples per second of the mixture loader, beside plain webdataset and beside a bare loop, on two cores.

    python -m benchmarks.loader [--photos ../shared/data/real_web]

All read the same tars and do the same to an image: decode, resize, mirror and move, normalize, stack eights. The bare
loop (two processes) does that alone; webdataset (its loader with two processes, shuffle buffer 1,000) also reads each
row's JSON; ours checks each image's digest, shuffles whole epochs, and makes prompts, tokens and labels. Contestants
take turns, round by round. Then the tiny model trains, and says which share of its time it waits for data.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from benchmarks.loader_data import Data, photographs, tiny_images
from benchmarks.loader_others import bare_loop, plain_webdataset
from pipelines.demo.recipe import HARD_NEGATIVES
from student.batches.batch_builder import BatchBuilder
from student.batches.prefetch import prefetch_batches
from student.data.streams import load_stream
from student.settings.streams import LoaderSettings, PromptMix, StreamSettings
from student.settings.train import TrainSettings
from student.training.metrics_log import read_metrics
from student.training.train import train

BATCH, ROUNDS, SECONDS = 8, 2, 3.0
CAPTIONS = PromptMix(detection=0.75, phrase_list=0, caption=0.25)


def main(arguments: list[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, default=Path("../shared/data/real_web"))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each contestant in each round")
    parser.add_argument("--images", type=int, default=2000, help="drawings of the tiny world")
    parser.add_argument("--steps", type=int, default=100, help="of the training; 3 at least")
    parser.add_argument("--processes", type=int, default=2, help="of the last contestant; 0 leaves it out")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        data = [tiny_images(Path(folder) / "tiny", chosen.images)]
        if not chosen.photos.is_dir():
            print(f"{chosen.photos} is not a folder: no photographs; give one of tars with --photos\n")
        else:
            data.append(photographs(Path(folder) / "photos", chosen.photos, data[0].start))
        print("| data | loader | samples/s, median | of webdataset in the same round | each round |")
        print("|---|---|---|---|---|")
        for one in data:
            _compare(one, chosen.rounds, chosen.seconds, chosen.processes)
        _training(data[0], chosen.steps)


def _compare(data: Data, rounds: int, seconds: float, processes: int) -> None:
    contestants: dict[str, Callable[[], Iterator[int]]] = {
        "bare loop": lambda: bare_loop(data, BATCH),
        "webdataset": lambda: plain_webdataset(data, BATCH),
        "mixture, two threads": lambda: _mixture(data, LoaderSettings(threads=2)),
    }
    if processes:
        name = f"mixture, {'two' if processes == 2 else processes} processes"
        contestants[name] = lambda: _mixture(data, LoaderSettings(processes=processes))
    speeds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, start in contestants.items():
            speeds[name].append(_samples_per_s(start(), seconds))
    for name, each in speeds.items():
        ratios = [own / other for own, other in zip(each, speeds["webdataset"], strict=True)]
        shown = ", ".join(f"{value:.0f}" for value in each)
        print(
            f"| {data.name} | {name} | {statistics.median(each):.0f} | {statistics.median(ratios):.2f} | {shown} |",
            flush=True,
        )


def _samples_per_s(batches: Iterator[int], seconds: float) -> float:
    """Start the clock when the first batches are there, so that starting processes is not measured."""
    for _ in range(8):
        next(batches)
    began, samples = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < seconds:
        samples += next(batches)
    batches.close()  # type: ignore[attr-defined]
    return samples / spent


def _settings(data: Data, out: Path, steps: int) -> TrainSettings:
    gold = StreamSettings(url=data.view, share=0.3, prompts=PromptMix() if data.exhaustive else CAPTIONS)
    return TrainSettings(
        start=str(data.start),
        out=str(out),
        streams=(gold, StreamSettings(url=data.view, share=0.7, prompts=CAPTIONS)),
        hard_negatives=HARD_NEGATIVES,
        steps=steps,
        batch_size=BATCH,
        log_every=min(10, max(steps // 3, 1)),
        tensorboard=False,
    )


def _mixture(data: Data, loader: LoaderSettings) -> Iterator[int]:
    settings = _settings(data, Path("unused"), 10**6).model_copy(update={"loader": loader})
    maker = BatchBuilder(settings, [load_stream(stream) for stream in settings.streams], data.processor)
    for batch in prefetch_batches(maker, 0, settings.steps):
        yield len(batch.names)


def _training(data: Data, steps: int) -> None:
    """Train the tiny model with one thread. The first steps warm up."""
    settings = _settings(data, data.folder / "run", steps)
    train(settings)
    records = read_metrics(Path(settings.out))[2:]
    waits = [record["data_wait_share"] for record in records]
    speed = statistics.median(record["images_per_s"] for record in records)
    print(
        f"\ntraining the tiny model, one thread: {speed:.0f} samples/s, waiting for data "
        f"{statistics.median(waits):.1%} of the time (worst {settings.log_every} steps {max(waits):.1%}; target at "
        "most 5 %)"
    )


if __name__ == "__main__":
    main()
