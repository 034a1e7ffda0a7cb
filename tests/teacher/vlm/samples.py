"""Samples with colored patches, and a store of answers in memory."""

from __future__ import annotations

import threading

import numpy as np

from schemas.errors import NotFoundError
from schemas.records import Phrase, Pixels, Sample
from tests.teacher.vlm.chat_server import COLORS

PATCHES = {"red": (10, 12, 70, 60), "green": (80, 20, 150, 90), "blue": (40, 70, 76, 116)}


def picture(height=120, width=160, patches=PATCHES):
    """Return a dark image with patches, xyxy, clipped to it."""
    pixels = np.full((height, width, 3), 16, np.uint8)
    for color, (x0, y0, x1, y1) in patches.items():
        pixels[y0:y1, x0:x1] = COLORS[color]
    return pixels


def sample_of(*texts, height=120, width=160, decoys=()):
    """Return a sample whose caption is the texts joined by ` and `."""
    caption, phrases = " and ".join(texts), []
    begin = 0
    for text in texts:
        phrases.append(Phrase(begin=begin, end=begin + len(text), text=text, root=text))
        begin += len(text) + len(" and ")
    phrases += [Phrase(text=text, root=text, kind="decoy") for text in decoys]
    return Sample(
        unit="u", shard="s", index=0, key="k", pixels=Pixels(url="file"), image_sha256="0", caption=caption,
        width=width, height=height, phrases=tuple(phrases),
    )  # fmt: skip


def label_one(labeler, *texts, image=None):
    """Return the regions of one sample, asked alone."""
    image = picture() if image is None else image
    height, width = image.shape[:2]
    return labeler.label([labeler.prepare(sample_of(*texts, height=height, width=width), image)])[0]


def boxes_by_phrase(regions):
    """Return the boxes of each phrase."""
    found = {}
    for region in regions:
        found.setdefault(region.phrase, []).append((region.x0, region.y0, region.x1, region.y1))
    return found


class MemoryStore:
    """An `AnswerStore` in memory."""

    def __init__(self):
        self.objects = {}
        self._lock = threading.Lock()

    def read(self, path):
        if path not in self.objects:
            raise NotFoundError(path)
        return self.objects[path]

    def put_if_absent(self, path, data):
        with self._lock:
            return self.objects.setdefault(path, data) is data
