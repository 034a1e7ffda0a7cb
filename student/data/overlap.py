"""Decontamination: find training images that are also in the sets that the student will be measured on.

Two images are the same if their bytes are equal, or if their perceptual hashes differ in at most `overlap_bits` bits.
Promise: a training whose data shares an image with `evaluation` does not start unless `allow_overlap` is set. The
report has the counts.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from engine.reading.images import decode_image
from engine.reading.pixels import read_pixels
from engine.settings import StorageSettings
from engine.storage.local_files import replace_file
from engine.views import View, open_view
from schemas.digests import digest_of
from schemas.errors import ConfigError, ConflictError, SampleRejectedError
from schemas.rows import PixelsRow
from student.data.perceptual_hash import nearest, perceptual_hash
from student.settings.train import TrainSettings

log = logging.getLogger(__name__)
_FILE = "overlap.json"
_MAX_EXAMPLES = 10


class OverlapCounts(TypedDict, total=False):
    """Images of each kind, and how many are shared; empty for a run without evaluation sets."""

    evaluation_images: int
    training_images: int
    equal: int
    alike: int
    without_hash: int
    overlap_bits: int | None
    examples: list[str]


class _ImageRow(TypedDict):
    """The columns of a view that name an image and its location."""

    unit: str
    key: str
    image_sha256: str
    pixels: PixelsRow


def check_overlap(settings: TrainSettings) -> OverlapCounts:
    """Count the images of each kind, the `equal` and `alike` ones, with examples; empty without `evaluation`.

    raises: ConflictError if an image is shared and `allow_overlap` is not set
    """
    if not settings.evaluation:
        return {}
    counts = _load_or_count(settings)
    shared = counts["equal"] + counts["alike"]
    if shared:
        message = (
            f"{shared} of {counts['training_images']} training images are also in the evaluation sets "
            f"({counts['equal']} with equal bytes, {counts['alike']} that look alike), e.g. "
            f"{', '.join(counts['examples'][:3])}"
        )
        if not settings.allow_overlap:
            raise ConflictError(
                f"{message}: leave them out of the data, or train on them with allow_overlap: true"
            )
        log.warning("%s; allow_overlap is set", message)
    return counts


def _load_or_count(settings: TrainSettings) -> OverlapCounts:
    """Return the counts of an earlier start of the same run, which read all data for them, or count now."""
    sets = [_open_evaluation(url) for url in settings.evaluation]
    data = {stream.url: open_view(stream.url, stream.storage) for stream in settings.streams}
    key = digest_of(
        [
            sorted(view.manifest.digest for view in sets),
            sorted(view.manifest.digest for view in data.values()),
            settings.overlap_bits,
        ]
    )
    path = Path(settings.out) / _FILE
    if (counts := _load_counts(path, key)) is not None:
        return counts
    counts = _count(settings, sets, data)
    replace_file(path, (json.dumps({"key": key, "found": counts}) + "\n").encode())
    return counts


def _open_evaluation(url: str) -> View:
    """Open an evaluation set. Raise ConfigError if it has no images."""
    view = open_view(url)
    if view.manifest.provenance.get("without_images"):
        raise ConfigError(
            f"evaluation: {url} was imported without images, so its images cannot be searched for in the data: import "
            "it again with --images"
        )
    return view


def _load_counts(path: Path, key: str) -> OverlapCounts | None:
    """Return the counts in the file if they have this key; None too for a file that cannot be read."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return cast(OverlapCounts, dict(record["found"])) if record["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _count(settings: TrainSettings, sets: list[View], data: Mapping[str, View]) -> OverlapCounts:
    roots = {was: now for stream in settings.streams for was, now in stream.roots.items()}
    known = _EvaluationImages(settings.overlap_bits)
    for view in sets:
        for row in _image_rows(view):
            known.add(row, roots)
    matches: Counter[str] = Counter()
    trained: set[str] = set()
    examples: list[str] = []
    for stream in settings.streams:
        for row in _image_rows(data[stream.url]):
            if row["image_sha256"] in trained:
                continue
            trained.add(row["image_sha256"])
            if match := known.match(row, {**roots, **stream.roots}, stream.storage):
                matches[match] += 1
                examples.append(f"{row['unit']}/{row['key']}")
    return {
        "evaluation_images": len(known.sha256),
        "training_images": len(trained),
        "equal": matches["equal"],
        "alike": matches["alike"],
        "without_hash": known.without_hash,
        "overlap_bits": settings.overlap_bits,
        "examples": examples[:_MAX_EXAMPLES],
    }


class _EvaluationImages:
    """The images of the evaluation sets, by sha256 and, where `bits` is given, by perceptual hash."""

    def __init__(self, bits: int | None) -> None:
        self.bits, self.without_hash = bits, 0
        self.sha256: set[str] = set()
        self._hashes: list[int] = []
        self._array: NDArray[np.uint64] | None = None

    def add(self, row: _ImageRow, roots: Mapping[str, str]) -> None:
        """Add an image of an evaluation set."""
        if row["image_sha256"] not in self.sha256 and (own := self._hash(row, roots, None)) is not None:
            self._hashes.append(own)
        self.sha256.add(row["image_sha256"])

    def match(
        self, row: _ImageRow, roots: Mapping[str, str], storage: StorageSettings | None
    ) -> Literal["equal", "alike"] | None:
        """Return how a training image matches an image of the sets; None: not at all."""
        if row["image_sha256"] in self.sha256:
            return "equal"
        own = self._hash(row, roots, storage)
        if own is None or self.bits is None:
            return None
        if self._array is None:
            self._array = np.array(self._hashes, dtype=np.uint64)
        return "alike" if nearest(own, self._array) <= self.bits else None

    def _hash(self, row: _ImageRow, roots: Mapping[str, str], storage: StorageSettings | None) -> int | None:
        """Return the image's hash. Return None, and count it, if the image has no structure or does not decode."""
        if self.bits is None:
            return None
        try:
            own = perceptual_hash(decode_image(read_pixels(row["pixels"], roots, storage)).rgb_u8)
        except SampleRejectedError:
            own = None
        self.without_hash += own is None
        return own


def _image_rows(view: View) -> Iterator[_ImageRow]:
    for table in view.tables():
        yield from table.select(list(_ImageRow.__annotations__)).to_pylist()
