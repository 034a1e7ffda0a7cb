"""Streams: a view or gold as training reads it, and what a stream knows of all its rows.

Its promise: a stream's digest and order are over what is learned (image digest, caption, phrases, boxes, weights) and
not over where the view or the pixels lie, so moving a data set changes no training run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from engine.views import View, open_view
from schemas.digests import digest_of_many
from schemas.errors import ConfigError
from schemas.probe_nouns import ends_in_probe_noun
from student.data.example_source import FromBlocks, InMemory, Source
from student.data.examples import Example, example_of, without_listed_absence
from student.data.gold_account import check_gold
from student.data.order import Order, WholeOrder, WindowOrder
from student.data.view_index import Index, cache_folder, kept_index, make_index
from student.data.vocabulary import Vocabulary
from student.settings.streams import StreamSettings
from student.settings.train import ProbeNouns, TrainSettings

_SPARE_BLOCKS = 8  # beside the window's own: those that batches made ahead open


@dataclass(frozen=True)
class Stream:
    """One data set: its examples, their order, its nouns, its images by licence ("": not stated)."""

    settings: StreamSettings
    digest: str
    view_digest: str
    exhaustive: bool
    examples: Source
    order: Order
    root_counts: Mapping[str, int]
    licenses: Mapping[str, int]
    kind: str = "view"
    images: int = 0
    boxes: int = 0
    """All different boxes, with those that are only to be ignored."""
    ignored_boxes: int = 0
    has_decoys: bool = False
    probe_nouns_excluded: bool = False

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The nouns that negatives are drawn from."""
        return Vocabulary(self.root_counts, self.settings.negatives_power)


def load_stream(settings: StreamSettings, cache: Path | None = None) -> Stream:
    """Open a view or gold. Raises ConfigError for one without a usable row, or a prompt mix that it cannot serve.

    Gold of which every box was refused has none.

    cache: folder for the index of a large view; none: the user's cache folder
    """
    view = open_view(settings.url, settings.storage)
    if view.manifest.kind == "gold":
        check_gold(settings.url, view.manifest.regions, view.manifest.provenance)
    exhaustive = _is_exhaustive(view, settings)
    federated = _is_federated(view, settings)
    every_row = exhaustive or federated
    if not len(view):
        raise ConfigError(f"{settings.url} has no rows: nothing can be learned from it; leave the stream out")
    small = len(view) <= settings.shuffle_window
    if small:
        index = make_index(view, every_row, settings.repeat_threshold, by_row=True)
    else:
        index = kept_index(view, every_row, settings.repeat_threshold, cache or cache_folder())
    if not index.images:
        raise ConfigError(f"{settings.url} holds no row to train on: compile it under a less strict policy")

    def made(row: dict[str, Any]) -> Example:
        if row["pixels"] is None:
            raise ConfigError(
                f"{settings.url}: row {row['unit']}/{row['key']} does not say where its image lies: import or "
                "compile it again with images"
            )
        example = example_of(row, settings.weight)
        return without_listed_absence(example) if exhaustive else example

    examples, order = (_in_memory if small else _from_blocks)(view, index, settings, made)
    return Stream(
        settings,
        index.blocks.digest,
        view.manifest.digest,
        exhaustive,
        examples,
        order,
        {}
        if federated
        else index.root_counts,  # of nouns that a federated row does not list nothing is known
        index.licenses,
        view.manifest.kind,
        index.images,
        index.boxes,
        index.ignored_boxes,
        index.has_decoys,
    )


def _in_memory(view: View, index: Index, settings: StreamSettings, made: Any) -> tuple[Source, Order]:
    examples = [made(row) for row in view.rows()]
    entries = np.repeat(np.arange(len(examples)), index.repeats)
    ordered = [examples[row] for row in index.blocks.file_row]
    return InMemory(ordered), WholeOrder(entries, index.blocks.digest)


def _from_blocks(view: View, index: Index, settings: StreamSettings, made: Any) -> tuple[Source, Order]:
    blocks = index.blocks
    window = max(1, settings.shuffle_window * len(blocks.count) // len(view))
    order = WindowOrder(blocks.first_row, index.repeats, window, blocks.digest)
    return FromBlocks(view, blocks, order.window + _SPARE_BLOCKS, made), order


def load_streams(settings: TrainSettings) -> list[Stream]:
    """The streams of a run, its probe nouns kept out of drawn negatives where it says so.

    Raises as `load_stream`; ConfigError for gold that a tuning_prompt cannot be asked of.
    """
    streams = [load_stream(one) for one in settings.streams]
    for stream in streams:
        if settings.tuning_prompt is not None and stream.kind == "gold" and not stream.exhaustive:
            raise ConfigError(
                f"{stream.settings.url} does not box everything: tuning_prompt asks every image for all of its nouns, "
                "and those that a row does not name may be there; use exhaustive gold"
            )
    return without_probe_nouns(streams, settings.probe_nouns)


def without_probe_nouns(streams: Sequence[Stream], when: ProbeNouns) -> list[Stream]:
    """The streams, and none of them teaches a drawn probe noun as absent where the run's setting says so.

    One stream with decoys is enough: what another teaches as absent, the student rejects everywhere.
    """
    if when == "asked" or (when == "auto" and not any(stream.has_decoys for stream in streams)):
        return list(streams)
    kept = [{n: c for n, c in stream.root_counts.items() if not ends_in_probe_noun(n)} for stream in streams]
    return [
        replace(stream, root_counts=counts, probe_nouns_excluded=True)
        for stream, counts in zip(streams, kept)
    ]


def _is_exhaustive(view: View, settings: StreamSettings) -> bool:
    """Whether what a row does not name is known not to be in its image. Raises ConfigError, as `load_stream`."""
    known, is_gold = view.manifest.provenance, view.manifest.kind == "gold"
    if known.get("without_images"):
        raise ConfigError(f"{settings.url} was imported without images: import it again with --images")
    exhaustive = is_gold and bool(known.get("exhaustive", True))
    if settings.prompts.phrase_list and not exhaustive:
        what = "gold that does not box everything" if is_gold else "a view, not gold"
        raise ConfigError(
            f"{settings.url} is {what}: what it does not name may still be there, so its phrase_list share "
            f"must be 0, not {settings.prompts.phrase_list:g}"
        )
    return exhaustive


def _is_federated(view: View, settings: StreamSettings) -> bool:
    """Whether nothing is known of what a row does not list. Raises ConfigError, as `load_stream`."""
    federated = bool(view.manifest.provenance.get("facts", {}).get("federated"))
    if federated and settings.packing.most:
        raise ConfigError(
            f"{settings.url} is federated gold: a row says nothing of the categories that other rows list, so packing "
            f"them around its own teaches as absent what may be there; its packing.most must be 0, not "
            f"{settings.packing.most}"
        )
    return federated


def data_digest(streams: Iterable[Stream]) -> str:
    """One digest over all streams in order."""
    return digest_of_many(stream.digest for stream in streams)
