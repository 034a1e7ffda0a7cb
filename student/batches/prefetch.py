"""Batches made ahead of the step that learns from them, by threads or by processes. Nothing here changes a batch."""

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

from schemas.errors import Conflict
from student.batches.build import Batch, BatchMaker
from student.batches.shared_memory import Tray, Trays
from student.data.example_source import InMemory
from student.data.order import WholeOrder, slots_of
from student.data.streams import Stream, load_stream


def batches_ahead(
    maker: BatchMaker, first: int, end: int, rank: int = 0, workers: int = 1
) -> Iterator[Batch]:
    """A worker's batches of steps first..end-1, in order; at most `loader.ahead` are made before they are asked for."""
    if maker.settings.loader.processes:
        return _by_processes(maker, range(first, end), rank, workers)
    return _by_threads(maker, first, end, rank, workers)


class _Steps(Dataset[Tray | Batch]):
    """Batches by step, in a process that opens the streams for itself (a fork would inherit locks and connections)."""

    def __init__(self, maker: BatchMaker, rank: int, workers: int, trays: Trays) -> None:
        facts = [replace(stream, examples=InMemory([]), order=WholeOrder([], "")) for stream in maker.streams]
        self._made_of = maker.settings, facts, maker.processor
        self._share, self._trays = (rank, workers), trays

    @cached_property
    def _maker(self) -> BatchMaker:
        torch.set_num_threads(1)
        settings, facts, processor = self._made_of
        return BatchMaker(settings, list(map(_opened_again, facts)), processor)

    def __getitem__(self, step: int) -> Tray | Batch:
        return self._trays.put(step, self._maker.batch(step, *self._share))


def _opened_again(facts: Stream) -> Stream:
    """A stream as the first process knows it, with its rows read here. Raises Conflict where they are others by now."""
    stream = load_stream(facts.settings)
    if stream.digest != facts.digest:
        raise Conflict(f"{facts.settings.url} changed while the run began: start it again")
    return replace(facts, examples=stream.examples, order=stream.order)


def _by_processes(maker: BatchMaker, steps: range, rank: int, workers: int) -> Iterator[Batch]:
    loader = maker.settings.loader
    each = -(-loader.ahead // loader.processes)
    trays = Trays(loader.processes * each + 1, maker.batch_bytes(workers))
    made = DataLoader(
        _Steps(maker, rank, workers, trays),
        batch_size=None,
        sampler=steps,
        num_workers=loader.processes,
        prefetch_factor=each,
        multiprocessing_context="forkserver",
        worker_init_fn=_tie_to_parent,
    )
    yield from map(trays.take, made)


def _tie_to_parent(worker: int) -> None:
    """Leave the parent's process group, whose signals are the parent's to answer, and end when the parent has ended.

    torch looks for the fork server's end instead, which lives for as long as its children do.
    """
    os.setsid()
    parent = multiprocessing.parent_process()
    assert parent is not None, "this runs in a child"

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, name="groundswell-parent", daemon=True).start()


def _by_threads(maker: BatchMaker, first: int, end: int, rank: int, workers: int) -> Iterator[Batch]:
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
