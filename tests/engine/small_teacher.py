"""A real teacher in forty lines of numpy, for tests: a phrase's box encloses the bright part of its color channel.

Its settings are in a small JSON file (the `model` of a detector job). `sleep_s` is per batch. `channel_gain` changes
the boxes. `refuse` and `dies_when_made` make loading fail. `announce` writes the process id as a file in a folder.
`say` is printed to stderr. `stall` makes the first process hang that finds no such file.

Words in a caption cause accidents. `explode` and `unpreparable` raise, `notanumber` returns a NaN, `hungry` needs a
batch of one. `deadly`, `segfaulting`, `selfexiting`, `neverending` and `memorygorging` end the process or keep it busy.
`memorystarving` raises MemoryError during preparation. `undecoyable` and `undecided` raise when asked for decoys.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.label.teacher_spec import Factories
from schemas.errors import OutOfMemoryError, RuntimeEnvironmentError
from schemas.labeler import FoundPhrases, Labeler, PhraseFinder, PreparedSample
from schemas.records import Phrase, Region, Sample

HERE = "tests.engine.small_teacher"
FACTORIES = Factories(
    f"{HERE}:labeler",
    f"{HERE}:finder",
    f"{HERE}:labeler_digest",
    f"{HERE}:finder_digest",
    has_decoys=True,
)
CHANNELS = {"red": 0, "green": 1, "blue": 2}


class SmallFinder:
    """Finds phrases of the form `a|an|the <word>`."""

    digest = "sha256:small-finder-1"

    def find(self, captions: Sequence[str]) -> list[FoundPhrases]:
        if any("unspeakable" in caption for caption in captions):
            raise ValueError("a caption that the finder chokes on")
        return [FoundPhrases(tuple(self._phrases(caption))) for caption in captions]

    def _phrases(self, caption: str) -> list[Phrase]:
        found = re.finditer(r"\b(?:a|an|the) (\w+)", caption, re.IGNORECASE)
        return [
            Phrase(begin=match.start(), end=match.end(), text=match.group(), root=match.group(1).lower())
            for match in found
        ]


class SmallLabeler:
    """Finds boxes by color. Every row of a batch is computed alone, so the other rows cannot matter."""

    score_kind = "small.share_of_bright_pixels"

    def __init__(self, options: dict[str, Any], digest: str, batch_size: int, min_score: float) -> None:
        self.digest, self.batch_size, self.min_score = digest, batch_size, min_score
        self._sleep_s = float(options.get("sleep_s", 0))
        self._gain = float(options.get("channel_gain", 1.0))
        self.batches: list[int] = []
        self._stall_at = options.get("stall")

    def prepare(self, sample: Sample, image_rgb_u8: np.ndarray) -> PreparedSample:
        if "memorystarving" in sample.caption:
            raise MemoryError("a memorystarving caption")
        if "unpreparable" in sample.caption:
            raise ValueError("a caption that cannot be made ready")
        bucket = tuple(-(-side // 128) * 128 for side in image_rgb_u8.shape[:2])
        return PreparedSample(bucket, (sample, image_rgb_u8.astype(np.float64)))

    def prepare_decoys(self, sample: Sample, image_rgb_u8: np.ndarray) -> PreparedSample:
        if "undecoyable" in sample.caption:
            raise ValueError("decoys that cannot be made ready")
        return replace(self.prepare(sample, image_rgb_u8), second_pass=True)

    def label(self, batch: Sequence[PreparedSample | None]) -> list[list[Region]]:
        assert len(batch) == self.batch_size
        assert len({row.bucket for row in batch if row}) == 1
        self.batches.append(sum(row is not None for row in batch))
        time.sleep(self._sleep_s)
        self._stall()
        captions = [row.inputs[0].caption for row in batch if row]
        if self.batch_size > 1 and any("hungry" in caption for caption in captions):
            raise OutOfMemoryError("a hungry caption in a batch")
        if any(row and row.second_pass and "undecided" in row.inputs[0].caption for row in batch):
            raise ValueError("decoys that cannot be answered")
        return [self._answer(row) if row else [] for row in batch]

    def _answer(self, row: PreparedSample) -> list[Region]:
        """Return regions of the sample's phrases, or of its decoys in the decoy pass."""
        sample, image = row.inputs
        found = self._regions(sample, image)
        if not row.second_pass:
            return found
        decoys = [region for region in found if sample.phrases[region.phrase].kind == "decoy"]
        return [region.model_copy(update={"pass_index": 1}) for region in decoys]

    def _stall(self) -> None:
        """Hang in the first process that asks, like a process on a broken machine."""
        if self._stall_at is not None and not os.path.exists(self._stall_at):
            Path(self._stall_at).touch()
            while True:
                time.sleep(60)

    def _cause_accident(self, caption: str) -> None:
        if "deadly" in caption:
            os.kill(os.getpid(), signal.SIGKILL)
        if "segfaulting" in caption:
            # not os.kill: another thread may handle a signal sent to oneself, while this one goes on
            ctypes.string_at(0)
        if "selfexiting" in caption:
            os._exit(0)
        while "neverending" in caption:
            time.sleep(60)
        held = []
        while "memorygorging" in caption:  # until the process is ended
            held.append(np.ones(2**22))  # 32 MiB
            if len(held) > 100:
                raise AssertionError("the memory limit is not enforced")

    def _regions(self, sample: Sample, image: np.ndarray) -> list[Region]:
        self._cause_accident(sample.caption)
        if "explode" in sample.caption:
            raise ValueError("a caption that the teacher chokes on")
        found = []
        for index, phrase in enumerate(sample.phrases):
            channel = image[..., CHANNELS.get(phrase.root, len(phrase.root) % 3)] * self._gain
            bright = channel > channel.mean() + channel.std()
            rows, columns = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
            score = float("nan") if "notanumber" in sample.caption else float(bright.mean())
            if len(rows) and not score < self.min_score:
                box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
                x0, y0, x1, y1 = map(float, box)
                found.append(Region(phrase=index, x0=x0, y0=y0, x1=x1, y1=y1, score=score))
        return found


def labeler(settings: dict[str, Any], batch_size: int, min_score: float) -> Labeler:
    options = json.loads(Path(settings["model"]).read_text())
    if options.get("refuse"):
        raise RuntimeEnvironmentError("no such accelerator")
    if options.get("dies_when_made"):
        os.kill(os.getpid(), signal.SIGKILL)
    if "say" in options:
        print(options["say"], file=sys.stderr, flush=True)
    if "announce" in options:
        Path(options["announce"], f"worker-{os.getpid()}").touch()
    return SmallLabeler(options, labeler_digest(settings), batch_size, min_score)


def finder(settings: dict[str, Any]) -> PhraseFinder:
    return SmallFinder()


def labeler_digest(settings: dict[str, Any]) -> str:
    """Return a digest over what changes a label; `sleep_s` does not."""
    options = json.loads(Path(settings["model"]).read_text())
    return "sha256:" + hashlib.sha256(str(options.get("channel_gain", 1.0)).encode()).hexdigest()


def finder_digest(settings: dict[str, Any]) -> str:
    return SmallFinder.digest
