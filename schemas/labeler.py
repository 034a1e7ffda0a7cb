"""The interface between the engine and a teacher: the protocols of a labeler and of a phrase finder.

The engine reads, decodes, batches, writes and commits. A teacher returns the regions that it sees. Neither depends on
anything of the other except this file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from schemas.records import DroppedPhrase, Phrase, Region, Sample

NO_SCORE = "none"
"""`score_kind` of a teacher without scores. Every region has score 1.0, and nothing may be decided by it."""

NeededSize = Callable[[tuple[int, int]], tuple[int, int] | None]
"""Returns the least (height, width) that is needed of an upright image of some (height, width); None: every pixel."""

Spans = Sequence[tuple[int, int]]
"""[begin, end) in code points of the stored caption: phrases that the input contains."""


@dataclass(frozen=True)
class FoundPhrases:
    """The result of a phrase finder for one caption: phrases to ask for, and dropped phrases with a reason."""

    phrases: tuple[Phrase, ...]
    dropped: tuple[DroppedPhrase, ...] = ()


class PhraseFinder(Protocol):
    """Finds phrases in captions. The result does not depend on how captions are batched.

    A finder that accepts spans from the input is a GivenPhraseFinder and has `takes_given = True`. Only such a finder
    gets samples with spans.
    """

    digest: str

    def find(self, captions: Sequence[str]) -> list[FoundPhrases]:
        """Return one result for each caption, in order; for every phrase `caption[begin:end] == text`."""
        ...


class GivenPhraseFinder(PhraseFinder, Protocol):
    """A phrase finder that accepts spans from the input, as phrases of kind `given`."""

    takes_given: bool
    """True. `isinstance` would only see that the attribute exists, so its value decides."""

    def find(self, captions: Sequence[str], given: Sequence[Spans] | None = None) -> list[FoundPhrases]:
        """Find phrases as PhraseFinder does; `given` has the spans of each caption."""
        ...


@dataclass(frozen=True)
class PreparedSample:
    """One sample, prepared on a CPU.

    `bucket` depends on the image's own size alone. Samples of one bucket share a batch. The engine passes `inputs` back
    to the labeler without reading it.
    """

    bucket: tuple[int, ...]
    inputs: Any
    second_pass: bool = False
    """Whether the sample asks for decoys; such samples share no batch with others."""
    dropped: tuple[tuple[int, str], ...] = ()
    """(phrase index, phrase code of `schemas.codes`) of phrases that this teacher cannot be asked for."""
    filled: float | None = None
    """Share of the padded pixels that the image fills, for measurements. None: not known."""


class Labeler(Protocol):
    """A teacher. Its answer for a sample depends only on that sample and on `batch_size`, not on the rest of the batch.

    A labeler that uses memory of an accelerator may have a method `close()`. It is called before sandbox processes load
    a teacher of their own on the same device.

    A labeler that needs fewer pixels than a JPEG has may have an attribute `needed_size`, a NeededSize. Then `prepare`
    may get an image at 1/2, 1/4 or 1/8 of the size of its sample, with at least the needed pixels.
    """

    digest: str
    """Covers weights, preprocessing and prompts: a different digest means different labels."""
    score_kind: str
    """The definition of the raw score, e.g. `glip.sqrt(token_mean*centerness)`; written to every table's metadata.
    NO_SCORE for a teacher without one."""
    batch_size: int
    """Rows of every batch. The engine halves it permanently when `label` raises OutOfMemoryError, so nothing may be
    sized by its first value."""

    def prepare(self, sample: Sample, image_rgb_u8: np.ndarray) -> PreparedSample:
        """Prepare one sample. image_rgb_u8: [height, width, 3] uint8, upright. Runs in any process.

        One thread calls it at a time, but not always the same one. Meanwhile `label` may run in another thread for the
        previous unit, so state that both use must be thread-safe.
        Raises SampleRejectedError if the sample cannot be labeled.
        """
        ...

    def label(self, batch: Sequence[PreparedSample | None]) -> list[list[Region]]:
        """Return the regions of each row. `batch` has `batch_size` rows of one bucket; None is a blank row.

        Boxes are half-open pixels of the upright stored image, clipped to it. After OutOfMemoryError it is called again
        with smaller batches. RuntimeEnvironmentError ends the run. Any other error is bisected to one sample.
        """
        ...


def get_needed_size(labeler: Labeler) -> NeededSize | None:
    """Return how many pixels a labeler needs of an image. None: all."""
    needed: NeededSize | None = getattr(labeler, "needed_size", None)
    return needed


def find_stored_size(
    sample: Sample, image_rgb_u8: np.ndarray, needed_size: NeededSize | None
) -> tuple[int, int]:
    """Return the (height, width) of the whole image. Only a labeler with a needed size gets less than that."""
    if needed_size is not None:
        return sample.height, sample.width
    return image_rgb_u8.shape[0], image_rgb_u8.shape[1]


@runtime_checkable
class DecoyLabeler(Labeler, Protocol):
    """A teacher that can be asked for decoys."""

    def prepare_decoys(self, sample: Sample, image_rgb_u8: np.ndarray) -> PreparedSample:
        """Prepare the sample to ask only for the decoys among its phrases; the other phrases are context.

        The regions have a `pass_index` above those of `prepare`. A decoy in `dropped` counts as not asked for.
        """
        ...


class DecoyChooser(Protocol):
    """Chooses decoys for a sample: phrases that are believed absent from its image."""

    digest: str
    """Covers the pool and the rules: a different digest means different decoys."""

    def choose(self, sample: Sample) -> tuple[Phrase, ...]:
        """Choose decoys for the sample, maybe none, from its image, caption and phrases alone."""
        ...


@runtime_checkable
class ProgressReporter(Labeler, Protocol):
    """A teacher whose `label` may take minutes. Without reports its worker would seem stuck meanwhile."""

    def report_progress(self, progress: Callable[[], None]) -> None:
        """Call `progress` whenever a part of a batch is done, from any thread."""
        ...


class AnswerStore(Protocol):
    """Objects that are written once, such as a folder or the store of an output."""

    def read(self, path: str) -> bytes:
        """Return the object's bytes. Raises NotFoundError."""
        ...

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Create the object. Return False if it exists."""
        ...


@runtime_checkable
class AnswerKeeper(Labeler, Protocol):
    """A teacher whose answers cost money or differ between two requests, so that the first ones are kept."""

    def keep_answers(self, store: AnswerStore) -> None:
        """Keep answers in the store, under names that begin with `answers/`."""
        ...
