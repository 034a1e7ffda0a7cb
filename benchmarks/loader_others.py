"""What the mixture loader is measured beside: a bare loop, and webdataset as its documentation writes it."""

from __future__ import annotations

import multiprocessing
import tarfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import webdataset
from PIL import Image

from benchmarks.loader_data import Data
from student.batches.geometry import augment_image, sample_augmentation
from student.settings.train import AugmentSettings

CORES = 2


def make_preparation(data: Data) -> Callable[[Any], np.ndarray]:
    """Return a function that resizes, mirrors and moves an image, as the mixture loader does it."""
    processor, augment, rng = data.processor, AugmentSettings(), np.random.default_rng(0)
    return lambda image: augment_image(processor.resize(image), sample_augmentation(rng, augment))


def plain_webdataset(data: Data, batch: int) -> Iterator[int]:
    """`WebDataset`, a shuffle buffer, decoded, mapped, batched; its loader with two processes."""
    processor = data.processor

    def stack(samples: Sequence[tuple[np.ndarray, dict[str, Any]]]) -> tuple[Any, list[dict[str, Any]]]:
        return processor.pixels([image for image, _ in samples]), [row for _, row in samples]

    pipeline = (
        webdataset.WebDataset(data.tars, shardshuffle=len(data.tars), seed=0)
        .shuffle(1000)
        .decode("rgb8")
        .to_tuple("jpg;png;webp", "json")
        .map_tuple(make_preparation(data), lambda row: row)
        .batched(batch, collation_fn=stack, partial=False)
    )
    loader = webdataset.WebLoader(pipeline.repeat(), batch_size=None, num_workers=CORES)
    for pixels, rows in loader:
        assert len(pixels["pixel_values"]) == len(rows)
        yield len(rows)


def bare_loop(data: Data, batch: int) -> Iterator[int]:
    """Two processes over the images in the tars' order; each says how many samples it has made."""
    context = multiprocessing.get_context("fork")
    made = context.SimpleQueue()
    tars = data.tars
    makers = [
        context.Process(target=_bare, args=(data, tars[core::CORES], batch, made), daemon=True)
        for core in range(CORES)
    ]
    for maker in makers:
        maker.start()
    try:
        while True:
            yield made.get()
    finally:
        for maker in makers:
            maker.terminate()
            maker.join()


def _bare(data: Data, tars: Sequence[str], batch: int, made: Any) -> None:
    torch.set_num_threads(1)
    processor, prepare = data.processor, make_preparation(data)
    held: list[np.ndarray] = []
    while True:
        for path in tars:
            with tarfile.open(path) as tar:
                for member in tar:
                    if member.name.endswith(".json"):
                        continue
                    image = Image.open(tar.extractfile(member)).convert("RGB")  # type: ignore[arg-type]
                    held.append(prepare(image))
                    if len(held) == batch:
                        processor.pixels(held)
                        made.put(batch)
                        held = []
