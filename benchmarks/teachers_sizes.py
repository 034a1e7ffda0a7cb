"""Size, memory and speed of well-known teachers on one core, for the table of docs/teachers.md.

    python -m benchmarks.teachers_sizes [NAME ...] [--photos ../shared/data/real_web] [--images 4] [--to FILE]

Each model runs in a process of its own: the published architecture with random weights in float32, photographs with the
noun phrases of their captions (four or more each), batches of one row, one thread. Memory is the peak of the process
with its libraries. Loading is not counted.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict, TypeVar

from benchmarks.teachers_speed import load_samples

DOCS = Path(__file__).parents[1] / "docs/teachers.json"
THRESHOLD = 0.3
T = TypeVar("T")


class Figures(TypedDict):
    """What one model costs."""

    parameters: int
    weights_gb: float
    memory_gb: float
    images_per_s: float


def main(arguments: list[str] | None = None) -> None:
    """Measure the models one after the other and print one row for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="models to measure; all without any")
    parser.add_argument("--photos", type=Path, default=Path("../shared/data/real_web"))
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument(
        "--to", type=Path, default=DOCS, help="file for the figures, as JSON; others in it stay"
    )
    chosen = parser.parse_args(arguments)
    from benchmarks.random_models import ARCHITECTURES, TINY

    known = [one.name for one in ARCHITECTURES]
    if unknown := sorted(set(chosen.names) - {*known, TINY.name}):
        parser.error(f"{unknown[0]!r} is not one of {', '.join(known)}")
    stored = json.loads(chosen.to.read_text()) if chosen.to.exists() else {"models": {}}
    print("| model | weights | memory | images/s |\n|---|---|---|---|")
    for name in chosen.names or known:
        with tempfile.TemporaryDirectory() as folder:
            kind = run_alone(save_model, name, chosen.photos, chosen.images, folder)
            figures = run_alone(measure, kind, chosen.photos, chosen.images, folder)
        print(f"| {name} | {' | '.join(format_figures(figures))} |", flush=True)
        stored["models"][name] = figures
        stored["images"] = chosen.images
        chosen.to.write_text(json.dumps(stored, indent=1) + "\n")


def format_figures(figures: Figures) -> tuple[str, str, str]:
    """Return weights, memory and speed as the page shows them."""
    return (
        f"{figures['weights_gb']:.2f} GB",
        f"{figures['memory_gb']:.1f} GB",
        f"{figures['images_per_s']:.2g}",
    )


def run_alone(function: Callable[..., T], *arguments: object) -> T:
    """Run a function in a process of its own, so that its memory counts for nothing else."""
    with multiprocessing.get_context("spawn").Pool(1) as process:
        return process.apply(function, arguments)


def save_model(name: str, photos: Path, images: int, folder: str) -> str:
    """Save a model with random weights. Return its kind."""
    from benchmarks.random_models import find_architecture, split_words

    architecture = find_architecture(name)
    samples = load_samples(photos, images + 1, size=None)
    architecture.save(Path(folder), split_words(sample.caption for sample, _ in samples))
    return architecture.kind


def measure(kind: str, photos: Path, images: int, folder: str) -> Figures:
    """Return what a saved model costs, the first image aside."""
    from teacher.factories import make_labeler

    samples = load_samples(photos, images + 1, size=None)
    weights = sum(path.stat().st_size for path in Path(folder).glob("*.safetensors"))
    labeler = make_labeler({"kind": kind, "model": folder, "device": "cpu"}, 1, THRESHOLD)
    seconds = []
    for sample, image in samples:
        begin = time.perf_counter()
        labeler.label([labeler.prepare(sample, image)])
        seconds.append(time.perf_counter() - begin)
    return Figures(
        parameters=weights // 4,
        weights_gb=weights / 1e9,
        memory_gb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        images_per_s=1 / statistics.mean(seconds[1:]),
    )


if __name__ == "__main__":
    main()
