"""Streams: a view or gold as training reads it, with facts about all of its rows.

Promise: digest and order of a stream depend on what is learned (image digest, caption, phrases, boxes, weights) and not
on the location of the view or the pixels. Moving a data set changes no training run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from engine.views import View, open_view
from schemas.decoys import ends_in_probe_noun
from schemas.digests import digest_of_many
from schemas.errors import ConfigError
from schemas.rows import ViewRow, rows_of
from student.data.example_source import BlockSource, ExampleSource, MakeExample, MemorySource
from student.data.examples import TrainingExample, make_example, remove_listed_absence
from student.data.gold_account import check_gold
from student.data.order import Order, WholeOrder, WindowOrder
from student.data.view_index import ViewIndex, build_index, cache_folder, load_or_build_index
from student.data.vocabulary import Vocabulary
from student.settings.streams import StreamSettings
from student.settings.train import ProbeNouns, TrainSettings
from teacher.nouns.class_relations import ClassRelations

_SPARE_BLOCKS = 8  # blocks in memory beyond the window: those that prefetched batches read
_ROWS_AT_A_TIME = 256


@dataclass(frozen=True)
class Stream:
    """One data set: its examples, their order, its nouns, its images by license ("": not stated)."""

    settings: StreamSettings
    digest: str
    view_digest: str
    exhaustive: bool
    examples: ExampleSource
    order: Order
    root_counts: Mapping[str, int]
    licenses: Mapping[str, int]
    kind: str = "view"
    images: int = 0
    boxes: int = 0
    """All different boxes, ignored ones included."""
    ignored_boxes: int = 0
    has_decoys: bool = False
    probe_nouns_excluded: bool = False
    relations: ClassRelations | None = None
    """Relations of the gold's own class names, by which negatives exclude related nouns; None: only equal words."""
    labels: Mapping[str, JsonValue] | None = None
    """Of a compiled view: `score_kind`, `job_digest` and `policy` of its boxes."""

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The nouns that negatives are drawn from."""
        return Vocabulary(self.root_counts, self.settings.negatives_power)


def load_stream(settings: StreamSettings, cache: Path | None = None) -> Stream:
    """Open a view or gold.

    cache:  folder for the index of a large view; None: the user's cache folder
    raises: ConfigError for a view without a usable row (gold of which every box was refused has none), or for a prompt
            mix that the view does not support
    """
    view = open_view(settings.url, settings.storage)
    if view.manifest.kind == "gold":
        check_gold(settings.url, view.manifest.regions, view.manifest.provenance)
    exhaustive = _is_exhaustive(view, settings)
    federated = _is_federated(view, settings)
    every_row = exhaustive or federated
    if not len(view):
        raise ConfigError(
            f"{settings.url} has no rows, so nothing can be learned from it: leave the stream out"
        )
    is_small = len(view) <= settings.shuffle_window
    if is_small:
        index = build_index(view, every_row, settings.repeat_threshold, by_row=True)
    else:
        index = load_or_build_index(view, every_row, settings.repeat_threshold, cache or cache_folder())
    if not index.images:
        raise ConfigError(
            f"{settings.url} has no row to train on: every row is without a box; compile it under a less strict policy"
        )

    def make(row: ViewRow) -> TrainingExample:
        if row["pixels"] is None:
            raise ConfigError(
                f"{settings.url}: row {row['unit']}/{row['key']} does not say where its image is: import or compile it "
                "again with images"
            )
        example = make_example(row, settings.weight)
        return remove_listed_absence(example) if exhaustive else example

    examples, order = (_load_all if is_small else _open_blocks)(view, index, settings, make)
    return Stream(
        settings,
        index.blocks.digest,
        view.manifest.digest,
        exhaustive,
        examples,
        order,
        # nothing is known of the nouns that a federated row does not list
        {} if federated else index.root_counts,
        index.licenses,
        view.manifest.kind,
        index.images,
        index.boxes,
        index.ignored_boxes,
        index.has_decoys,
        relations=read_class_relations(view),
        labels=describe_labels(view),
    )


def describe_labels(view: View) -> Mapping[str, JsonValue] | None:
    names = ("score_kind", "job_digest", "policy")
    provenance = view.manifest.provenance
    if not all(name in provenance for name in names):
        return None
    return {name: provenance[name] for name in names}


def read_class_relations(view: View) -> ClassRelations:
    """Return what gold states about its class names: synonyms and supercategories (`broader` of its `facts`)."""
    broader = view.manifest.provenance.get("facts", {}).get("broader", {})
    return ClassRelations.from_pairs((name, other) for name, others in broader.items() for other in others)


def _load_all(
    view: View, index: ViewIndex, settings: StreamSettings, make: MakeExample
) -> tuple[ExampleSource, Order]:
    batches = (batch for table in view.tables() for batch in table.to_batches(max_chunksize=_ROWS_AT_A_TIME))
    examples = [make(row) for batch in batches for row in rows_of(batch, ViewRow)]
    entries = np.repeat(np.arange(len(examples)), index.repeats)
    in_content_order = [examples[row] for row in index.blocks.file_row]
    return MemorySource(in_content_order), WholeOrder(entries, index.blocks.digest)


def _open_blocks(
    view: View, index: ViewIndex, settings: StreamSettings, make: MakeExample
) -> tuple[ExampleSource, Order]:
    blocks = index.blocks
    window = max(1, settings.shuffle_window * len(blocks.count) // len(view))
    order = WindowOrder(blocks.first_row, index.repeats, window, blocks.digest)
    return BlockSource(view, blocks, order.window + _SPARE_BLOCKS, make), order


def load_streams(settings: TrainSettings) -> list[Stream]:
    """Return the streams of a run. Probe nouns and related nouns are excluded from negatives as the settings say.

    raises: as `load_stream`; ConfigError for gold that does not support a tuning_prompt
    """
    streams = [load_stream(one) for one in settings.streams]
    for stream in streams:
        if settings.tuning_prompt is not None and stream.kind == "gold" and not stream.exhaustive:
            raise ConfigError(
                f"{stream.settings.url}: gold is not exhaustive; tuning_prompt needs exhaustive gold, because it asks "
                "every image for all of its nouns"
            )
    if settings.negatives == "words":
        streams = [replace(stream, relations=None) for stream in streams]
    return exclude_probe_nouns(streams, settings.probe_nouns)


def exclude_probe_nouns(streams: Sequence[Stream], when: ProbeNouns) -> list[Stream]:
    """Return the streams without probe nouns among the drawn negatives, where the setting of the run says so.

    One stream with decoys is enough: the student rejects everywhere what any stream teaches as absent.
    """
    if when == "asked" or (when == "auto" and not any(stream.has_decoys for stream in streams)):
        return list(streams)
    counts = [
        {n: c for n, c in stream.root_counts.items() if not ends_in_probe_noun(n)} for stream in streams
    ]
    return [
        replace(stream, root_counts=own, probe_nouns_excluded=True)
        for stream, own in zip(streams, counts, strict=True)
    ]


def _is_exhaustive(view: View, settings: StreamSettings) -> bool:
    """Return whether everything that a row does not name is known to be absent. Raise as `load_stream`."""
    provenance, is_gold = view.manifest.provenance, view.manifest.kind == "gold"
    if provenance.get("without_images"):
        raise ConfigError(f"{settings.url} was imported without images: import it again with --images")
    exhaustive = is_gold and bool(provenance.get("exhaustive", True))
    if settings.prompts.phrase_list and not exhaustive:
        kind = "gold that does not box everything" if is_gold else "a view, not gold"
        raise ConfigError(
            f"{settings.url} is {kind}: what it does not name may be in the image, so its phrase_list share must be 0, "
            f"not {settings.prompts.phrase_list:g}"
        )
    return exhaustive


def _is_federated(view: View, settings: StreamSettings) -> bool:
    """Return whether nothing is known of what a row does not list. Raise as `load_stream`."""
    federated = bool(view.manifest.provenance.get("facts", {}).get("federated"))
    if federated and settings.packing.most:
        raise ConfigError(
            f"{settings.url} is federated gold; set packing.most: 0 (is {settings.packing.most}), because other "
            "captions may name objects in this image"
        )
    return federated


def data_digest(streams: Iterable[Stream]) -> str:
    """Return one digest over all streams in order."""
    return digest_of_many(stream.digest for stream in streams)
