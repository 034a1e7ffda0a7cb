"""Prefetch batches by threads or by processes. Prefetching changes no batch."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property

import torch
from torch.utils.data import DataLoader, Dataset

from schemas.errors import ConflictError
from student.batches.batch_builder import Batch, BatchBuilder
from student.batches.shared_memory import BufferedBatch, SharedBuffers
from student.data.example_source import MemorySource
from student.data.order import WholeOrder, worker_slots
from student.data.streams import Stream, load_stream


def prefetch_batches(
    builder: BatchBuilder, first: int, end: int, rank: int = 0, workers: int = 1
) -> Iterator[Batch]:
    """Yield a worker's batches of steps first..end-1, in order. At most `loader.ahead` are built in advance."""
    if builder.settings.loader.processes:
        return _prefetch_by_processes(builder, range(first, end), rank, workers)
    return _prefetch_by_threads(builder, first, end, rank, workers)


class _BatchDataset(Dataset[BufferedBatch | Batch]):
    """Batches by step, in a process that opens the streams itself (a fork would inherit locks and connections)."""

    def __init__(self, builder: BatchBuilder, rank: int, workers: int, buffers: SharedBuffers) -> None:
        facts = [
            replace(stream, examples=MemorySource([]), order=WholeOrder([], "")) for stream in builder.streams
        ]
        self._parts = builder.settings, facts, builder.processor
        self._share, self._buffers = (rank, workers), buffers

    @cached_property
    def _builder(self) -> BatchBuilder:
        torch.set_num_threads(1)
        settings, facts, processor = self._parts
        return BatchBuilder(settings, list(map(_reopen_stream, facts)), processor)

    def __getitem__(self, step: int) -> BufferedBatch | Batch:
        return self._buffers.put(step, self._builder.build(step, *self._share))


def _reopen_stream(facts: Stream) -> Stream:
    """Open the rows of a stream that the first process knows. Raise ConflictError if they have changed since."""
    stream = load_stream(facts.settings)
    if stream.digest != facts.digest:
        raise ConflictError(f"{facts.settings.url} changed while the run began: start it again")
    return replace(facts, examples=stream.examples, order=stream.order)


def _prefetch_by_processes(builder: BatchBuilder, steps: range, rank: int, workers: int) -> Iterator[Batch]:
    loader = builder.settings.loader
    per_process = -(-loader.ahead // loader.processes)
    buffers = SharedBuffers(loader.processes * per_process + 1, builder.batch_bytes(workers))
    batches = DataLoader(
        _BatchDataset(builder, rank, workers, buffers),
        batch_size=None,
        sampler=steps,
        num_workers=loader.processes,
        prefetch_factor=per_process,
        multiprocessing_context="forkserver",
        worker_init_fn=_tie_to_parent,
    )
    yield from map(buffers.take, batches)


def _tie_to_parent(worker: int) -> None:
    """Leave the parent's process group, whose signals only the parent handles, and end when the parent has ended.

    torch waits for the end of the fork server instead, which lives as long as its children do.
    """
    os.setsid()
    parent = multiprocessing.parent_process()
    assert parent is not None, "this runs in a child"

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, name="groundswell-parent", daemon=True).start()


def _prefetch_by_threads(
    builder: BatchBuilder, first: int, end: int, rank: int, workers: int
) -> Iterator[Batch]:
    loader = builder.settings.loader
    with (
        ThreadPoolExecutor(loader.threads, thread_name_prefix="images") as images,
        ThreadPoolExecutor(1, thread_name_prefix="batches") as batches,
    ):
        pending: deque[Future[Batch]] = deque()

        def begin(step: int) -> None:
            slots = worker_slots(step, builder.settings.batch_size, rank, workers)
            items = [images.submit(builder.load_item, slot) for slot in slots]
            pending.append(batches.submit(lambda: builder.collate([item.result() for item in items])))

        try:
            for step in range(first, min(first + loader.ahead, end)):
                begin(step)
            for step in range(first, end):
                batch = pending.popleft().result()
                if step + loader.ahead < end:
                    begin(step + loader.ahead)
                yield batch
        finally:  # after an error, or when the caller stops early, cancel all work that has not begun
            images.shutdown(wait=False, cancel_futures=True)
            batches.shutdown(wait=False, cancel_futures=True)
