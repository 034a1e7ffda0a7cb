"""The seam between the engine and a teacher: what a labeler and a phrase finder must be able to do.

The engine reads, decodes, batches, writes and commits; a teacher says which regions it sees. Neither knows more of
the other than this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from schemas.records import DroppedPhrase, Phrase, Region, Sample

Spans = Sequence[tuple[int, int]]
"""[begin, end) in code points of the stored caption: phrases that the input gives."""


@dataclass(frozen=True)
class FoundPhrases:
    """What a phrase finder made of one caption: phrases to ask for, and phrases it dropped with a reason."""

    phrases: tuple[Phrase, ...]
    dropped: tuple[DroppedPhrase, ...] = ()


class PhraseFinder(Protocol):
    """Finds phrases in captions. One by one or in batches, the result is the same.

    One that takes spans given in the input is a GivenPhraseFinder; no other is asked about samples that have some.
    """

    digest: str

    def find(self, captions: Sequence[str]) -> list[FoundPhrases]:
        """One result per caption, in order; every phrase obeys `caption[begin:end] == text`."""
        ...


@runtime_checkable
class GivenPhraseFinder(PhraseFinder, Protocol):
    """A phrase finder that takes spans given in the input, as phrases of kind `given`."""

    takes_given: bool

    def find(self, captions: Sequence[str], given: Sequence[Spans] | None = None) -> list[FoundPhrases]:
        """As PhraseFinder.find; `given` has the spans of each caption."""
        ...


@dataclass(frozen=True)
class PreparedSample:
    """One sample, made ready on a CPU. `bucket` is a function of the image's own size; one bucket shares a batch."""

    bucket: tuple[int, ...]
    inputs: Any
    second_pass: bool = False
    """Asks for decoys: shares no batch with what does not."""
    dropped: tuple[tuple[int, str], ...] = ()
    """(phrase number, phrase code of `schemas.codes`) of phrases that cannot be put to this teacher."""


class Labeler(Protocol):
    """A teacher. Its answer for a sample depends on that sample and on `batch_size` alone, never on its mates.

    One that holds an accelerator's memory may have a method `close()`: it is called before disposable processes make
    a teacher of their own beside it.
    """

    digest: str
    """Covers weights, preprocessing and prompts: another digest means other labels."""
    score_kind: str
    """What the raw score is, e.g. `glip.sqrt(token_mean*centerness)`; stands in every table's metadata."""
    batch_size: int
    """Rows of every batch. The engine halves it, for good, when `label` raises OutOfMemoryError: nothing may be sized
    by what it was when the labeler was made."""

    def prepare(self, sample: Sample, image_rgb_u8: np.ndarray) -> PreparedSample:
        """Make one sample ready. image_rgb_u8: [height, width, 3] uint8, upright. Runs in any process.

        It is called from one thread at a time, not always the same, while `label` runs in another, perhaps about the
        unit before: what both touch must stand that.
        Raises SampleRejectedError when the sample cannot be asked about.
        """
        ...

    def label(self, batch: Sequence[PreparedSample | None]) -> list[list[Region]]:
        """Regions for each row; `batch` is always `batch_size` long, of one bucket, and None is a blank row.

        Boxes are half-open pixels of the upright stored image, clipped to it. Raises OutOfMemoryError, after which it
        is called again with smaller batches; RuntimeEnvironmentError ends the run; anything else is bisected to one
        sample.
        """
        ...


@runtime_checkable
class DecoyLabeler(Labeler, Protocol):
    """A teacher that can be asked for decoys."""

    def prepare_decoys(self, sample: Sample, image_rgb_u8: np.ndarray) -> PreparedSample:
        """As `prepare`, to ask for the decoys among the sample's phrases alone; the others are what it says besides.

        Regions of the answer have a `pass_index` above those of `prepare`. A decoy in `dropped` counts as not asked.
        """
        ...


class DecoyChooser(Protocol):
    """Chooses decoys for a sample: phrases that are believed absent from its image."""

    digest: str
    """Covers the pool and the rules: another digest means other decoys."""

    def choose(self, sample: Sample) -> tuple[Phrase, ...]:
        """Decoys for the sample, maybe none: a function of the sample's image, caption and phrases alone."""
        ...
