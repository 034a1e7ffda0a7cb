"""Samples for the kinds `grounding-dino` and `mm-grounding-dino`, and a reading of their models that shares no code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedTokenizerBase

from schemas.labeler import Labeler, PreparedSample
from schemas.records import Phrase, Pixels, Region, Sample
from teacher.factories import make_labeler

KINDS = ("grounding-dino", "mm-grounding-dino")
CAPTION = "A red dog and two cats riding the horse"
TEXTS = ("A red dog", "two cats", "the horse")
SIZE = (96, 128)
"""(height, width) of most images. The tiny model resizes them to 128 x 170 and pads them to 128 x 192."""


@dataclass(frozen=True)
class TinyDino:
    """A directory with a tiny model, and the name of its kind."""

    kind: str
    folder: Path

    def build(self, batch_size: int = 1, min_score: float = 0.0, **settings: str | int) -> Labeler:
        """Return its labeler, the same one for the same arguments. By default every box is a region."""
        return _build(self, batch_size, min_score, tuple(settings.items()))


@cache
def _build(
    dino: TinyDino, batch_size: int, min_score: float, settings: tuple[tuple[str, str | int], ...]
) -> Labeler:
    values = {"kind": dino.kind, "model": str(dino.folder), "device": "cpu", **dict(settings)}
    return make_labeler(values, batch_size, min_score)


def make_picture(size: tuple[int, int] = SIZE, seed: int = 0) -> np.ndarray:
    """Return noise, uint8 [height, width, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def make_sample(
    caption: str = CAPTION,
    texts: Sequence[str] = TEXTS,
    decoys: Sequence[str] = (),
    size: tuple[int, int] = SIZE,
) -> Sample:
    """Return a sample with phrases at the places of the texts in the caption. Equal texts get the places in turn."""
    phrases, ends = [], dict.fromkeys(texts, 0)
    for text in texts:
        begin = caption.index(text, ends[text])
        ends[text] = begin + len(text)
        phrases.append(Phrase(begin=begin, end=ends[text], text=text, root=text.split()[-1]))
    phrases += [Phrase(text=decoy, root=decoy, kind="decoy") for decoy in decoys]
    return Sample(
        unit="u", shard="s", index=0, key="k", pixels=Pixels(url="file"), image_sha256="0", caption=caption,
        width=size[1], height=size[0], phrases=tuple(phrases),
    )  # fmt: skip


def join(*texts: str) -> tuple[str, list[str]]:
    """Return a caption that is the texts one after the other, and the texts."""
    return " and ".join(texts), list(texts)


def prepare(
    labeler: Labeler,
    caption: str = CAPTION,
    texts: Sequence[str] = TEXTS,
    size: tuple[int, int] = SIZE,
    seed: int = 0,
) -> PreparedSample:
    """Return a sample with noise as its image, prepared."""
    return labeler.prepare(make_sample(caption, texts, size=size), make_picture(size, seed))


def label(labeler: Labeler, row: PreparedSample) -> list[Region]:
    """Return the regions of one sample in a batch of its own."""
    return labeler.label([row, *[None] * (labeler.batch_size - 1)])[0]


def as_rows(regions: Sequence[Region], size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return regions as rows [phrase, pass, score, x0, y0, x1, y1], boxes as fractions of the image."""
    height, width = size
    rows = [
        (r.phrase, r.pass_index, r.score, r.x0 / width, r.y0 / height, r.x1 / width, r.y1 / height)
        for r in regions
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 7)


def check_same(rows: np.ndarray, others: np.ndarray, tolerance: float = 1e-5) -> None:
    """Fail unless both have the same rows, in any order, within a tolerance."""
    assert len(rows) == len(others) > 0
    distance = np.abs(rows[:, None] - others[None]).max(axis=2)
    assert max(distance.min(axis=0).max(), distance.min(axis=1).max()) < tolerance


@cache
def load_plainly(folder: Path) -> tuple[BaseImageProcessor, PreTrainedTokenizerBase, torch.nn.Module]:
    """Return image processor, tokenizer and model of a directory as `transformers` loads them."""
    from transformers import AutoModelForZeroShotObjectDetection, AutoTokenizer
    from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
        GroundingDinoImageProcessorPil,
    )

    return (
        GroundingDinoImageProcessorPil.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
        AutoModelForZeroShotObjectDetection.from_pretrained(folder).eval(),
    )


@torch.inference_mode()
def read_directly(
    dino: TinyDino, image: np.ndarray, prompt: str, spans: Sequence[tuple[int, int]], pool: str = "max"
) -> np.ndarray:
    """Return what `as_rows` returns, by the processor and the model of the directory and the spans of the phrases.

    The image is padded to multiples of 32, because the model's answer depends on it. The text is not padded.
    """
    images, tokenizer, model = load_plainly(dino.folder)
    height, width = images(images=[image])["pixel_values"][0].shape[1:]
    padded = {"height": (height + 31) // 32 * 32, "width": (width + 31) // 32 * 32}
    inputs = images(images=[image], pad_size=padded, return_tensors="pt")
    text = tokenizer([prompt], return_tensors="pt", return_offsets_mapping=True, return_token_type_ids=True)
    offsets = text.pop("offset_mapping")[0].tolist()
    outputs = model(**inputs, **text)
    scores = 1 / (1 + np.exp(-outputs.logits[0].double().numpy()))
    rows = []
    for phrase, (begin, end) in enumerate(spans):
        own = [place for place, (start, stop) in enumerate(offsets) if begin <= start < stop <= end]
        pooled = scores[:, own].max(axis=1) if pool == "max" else scores[:, own].mean(axis=1)
        for score, (x, y, w, h) in zip(pooled, outputs.pred_boxes[0].tolist(), strict=True):
            box = [min(max(side, 0.0), 1.0) for side in (x - w / 2, y - h / 2, x + w / 2, y + h / 2)]
            if box[0] < box[2] and box[1] < box[3]:
                rows.append((phrase, 0, score, *box))
    return np.array(rows)


def find_spans(prompt: str, texts: Sequence[str]) -> list[tuple[int, int]]:
    """Return where the texts are in a prompt, each after the one before it."""
    spans, end = [], 0
    for text in texts:
        begin = prompt.index(text, end)
        end = begin + len(text)
        spans.append((begin, end))
    return spans
