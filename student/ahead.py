"""Batches made ahead of the step that learns from them, by threads or by processes. Nothing here changes a batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from student.batches import Batch, BatchMaker
from student.order import slots_of


def batches_ahead(
    maker: BatchMaker, first: int, end: int, rank: int = 0, workers: int = 1
) -> Iterator[Batch]:
    """A worker's batches of steps first..end-1, in order; at most `loader.ahead` are made before they are asked for."""
    loader = maker.settings.loader
    with (
        ThreadPoolExecutor(loader.threads, thread_name_prefix="images") as images,
        ThreadPoolExecutor(1, thread_name_prefix="batches") as batches,
    ):
        coming: deque[Future[Batch]] = deque()

        def begin(step: int) -> None:
            slots = slots_of(step, maker.settings.batch_size, rank, workers)
            items = [images.submit(maker.item, slot) for slot in slots]
            coming.append(batches.submit(lambda: maker.collate([item.result() for item in items])))

        try:
            for step in range(first, min(first + loader.ahead, end)):
                begin(step)
            for step in range(first, end):
                batch = coming.popleft().result()
                if step + loader.ahead < end:
                    begin(step + loader.ahead)
                yield batch
        finally:  # a step that failed, or a caller who stops early: what was not begun is not made
            images.shutdown(wait=False, cancel_futures=True)
            batches.shutdown(wait=False, cancel_futures=True)
