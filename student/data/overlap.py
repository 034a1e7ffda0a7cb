"""Decontamination: which training images are also in the sets that the student will be measured on.

An image is the same when its bytes are, or when its perceptual hash is within `overlap_bits`. Promise: a training
whose data shares an image with `evaluation` does not start unless `allow_overlap` says so, and the counts are told.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine.reading.images import decode_image
from engine.reading.pixels import read_pixels
from engine.settings import StorageSettings
from engine.storage.local_files import replace_file
from engine.views import View, open_view
from schemas.digests import digest_of
from schemas.errors import ConfigError, ConflictError, SampleRejectedError
from student.data.perceptual_hash import nearest, perceptual_hash
from student.settings.train import TrainSettings

log = logging.getLogger(__name__)
_KEPT = "overlap.json"
_MOST_EXAMPLES = 10


def check_overlap(settings: TrainSettings) -> dict[str, Any]:
    """Images of each kind, how many are `equal` and `alike`, and examples; empty without `evaluation`.

    raises: ConflictError when an image is shared and `allow_overlap` is not set
    """
    if not settings.evaluation:
        return {}
    found = _kept(settings)
    shared = found["equal"] + found["alike"]
    if shared:
        told = (
            f"{shared} of {found['training_images']} training images are also in the evaluation sets ({found['equal']} "
            f"with equal bytes, {found['alike']} that look alike), e.g. {', '.join(found['examples'][:3])}"
        )
        if not settings.allow_overlap:
            raise ConflictError(
                f"{told}: leave them out of the data, or train on them with allow_overlap: true"
            )
        log.warning("%s; allow_overlap is set", told)
    return found


def _kept(settings: TrainSettings) -> dict[str, Any]:
    """What was counted, or what an earlier start of the same run counted: the data was read once for it."""
    sets = [_with_images(url) for url in settings.evaluation]
    data = {stream.url: open_view(stream.url, stream.storage) for stream in settings.streams}
    key = digest_of(
        [
            sorted(view.manifest.digest for view in sets),
            sorted(view.manifest.digest for view in data.values()),
            settings.overlap_bits,
        ]
    )
    path = Path(settings.out) / _KEPT
    if (kept := _found_before(path, key)) is not None:
        return kept
    found = _count(settings, sets, data)
    replace_file(path, (json.dumps({"key": key, "found": found}) + "\n").encode())
    return found


def _with_images(url: str) -> View:
    """The evaluation set. Raises ConfigError for one that cannot tell its images from others."""
    view = open_view(url)
    if view.manifest.provenance.get("without_images"):
        raise ConfigError(
            f"evaluation: {url} was imported without images, so none can be found in the data: import it "
            "again with --images"
        )
    return view


def _found_before(path: Path, key: str) -> dict[str, Any] | None:
    """What stands in the file for this key; a file that cannot be read is none."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return dict(kept["found"]) if kept["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _count(settings: TrainSettings, sets: list[View], data: Mapping[str, View]) -> dict[str, Any]:
    roots = {was: now for stream in settings.streams for was, now in stream.roots.items()}
    known = _Evaluated(settings.overlap_bits)
    for view in sets:
        for row in _each_image(view):
            known.add(row, roots)
    fates: Counter[str] = Counter()
    trained: set[str] = set()
    examples: list[str] = []
    for stream in settings.streams:
        for row in _each_image(data[stream.url]):
            if row["image_sha256"] in trained:
                continue
            trained.add(row["image_sha256"])
            if fate := known.fate(row, {**roots, **stream.roots}, stream.storage):
                fates[fate] += 1
                examples.append(f"{row['unit']}/{row['key']}")
    return {
        "evaluation_images": len(known.sha256),
        "training_images": len(trained),
        "equal": fates["equal"],
        "alike": fates["alike"],
        "without_hash": known.without_hash,
        "overlap_bits": settings.overlap_bits,
        "examples": examples[:_MOST_EXAMPLES],
    }


class _Evaluated:
    """The images of the evaluation sets, by bytes and, where `bits` is given, by looks."""

    def __init__(self, bits: int | None) -> None:
        self.bits, self.without_hash = bits, 0
        self.sha256: set[str] = set()
        self._hashes: list[int] = []
        self._array: NDArray[np.uint64] | None = None

    def add(self, row: Mapping[str, Any], roots: Mapping[str, str]) -> None:
        if row["image_sha256"] not in self.sha256 and (seen := self._look(row, roots, None)) is not None:
            self._hashes.append(seen)
        self.sha256.add(row["image_sha256"])

    def fate(
        self, row: Mapping[str, Any], roots: Mapping[str, str], storage: StorageSettings | None
    ) -> Literal["equal", "alike"] | None:
        """How a training image is in the sets, if it is."""
        if row["image_sha256"] in self.sha256:
            return "equal"
        seen = self._look(row, roots, storage)
        if seen is None or self.bits is None:
            return None
        if self._array is None:
            self._array = np.array(self._hashes, dtype=np.uint64)
        return "alike" if nearest(seen, self._array) <= self.bits else None

    def _look(
        self, row: Mapping[str, Any], roots: Mapping[str, str], storage: StorageSettings | None
    ) -> int | None:
        """The image's hash; None, counted, for one that has no structure or does not decode."""
        if self.bits is None:
            return None
        try:
            seen = perceptual_hash(decode_image(read_pixels(row["pixels"], roots, storage)).rgb_u8)
        except SampleRejectedError:
            seen = None
        self.without_hash += seen is None
        return seen


def _each_image(view: View) -> Iterator[dict[str, Any]]:
    """Rows with what names an image and says where it lies."""
    for table in view.tables():
        yield from table.select(["unit", "key", "image_sha256", "pixels"]).to_pylist()
