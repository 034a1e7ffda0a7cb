"""Batches: the tensors of step n, a pure function of (streams, settings, processor, n).

Nothing is carried from one step to the next, so a run that resumes at step n sees what the undisturbed one saw, and
workers that share a step see together what one alone would.
"""

# B images, T tokens of the longest prompt of the batch
from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from engine.reading.images import decode_picture
from engine.reading.range_reader import RangeReader
from schemas.digests import sha256_hex
from schemas.errors import Conflict, GroundswellError, SampleRejected
from student.batches.geometry import Motion, draw_motion, draw_scale, move_image
from student.batches.targets import image_labels
from student.data.examples import Example
from student.data.mixture import mixture_of
from student.data.order import slot_generator, slots_of
from student.data.streams import Stream
from student.prompts.build import Prompt, TokenBudget, fixed_prompt, make_prompt, mirrored
from student.prompts.caption_packing import pack_captions
from student.prompts.tokens import PromptTokens
from student.settings.train import TrainSettings
from teacher.models.glip import GlipProcessor
from teacher.models.glip.losses import ImageLabels
from teacher.models.glip.processing import AUTHORS_PAD_MULTIPLE


@dataclass(frozen=True)
class Batch:
    """What one worker learns from in one step."""

    pixel_values: Tensor  # [B, 3, H, W]
    pixel_mask: Tensor  # [B, H, W]
    input_ids: Tensor  # [B, T]
    attention_mask: Tensor  # [B, T]
    labels: list[ImageLabels]
    prompts: list[Prompt]
    names: list[str]
    counts: Counter[str]
    global_size: int  # images of the step over all workers

    def packed(self) -> dict[str, Any]:
        """The fields as they travel between processes: the many small tensors would each cost a shared file."""
        labels = [{name: value.numpy() for name, value in label.items()} for label in self.labels]
        return {**{field.name: getattr(self, field.name) for field in fields(self)}, "labels": labels}

    def __reduce__(self) -> tuple[Any, ...]:
        return unpacked, (self.packed(),)


@dataclass(frozen=True)
class Item:
    """One slot before its batch is put together."""

    example: Example
    prompt: Prompt
    motion: Motion
    image: np.ndarray  # uint8 [H, W, 3], resized and moved
    stored_hw: tuple[int, int]


def unpacked(values: dict[str, Any]) -> Batch:
    """The batch that `Batch.packed` took apart."""
    labels = [{name: torch.from_numpy(value) for name, value in one.items()} for one in values["labels"]]
    return Batch(**{**values, "labels": labels})


class BatchMaker:
    """Makes the batch of any step."""

    def __init__(self, settings: TrainSettings, streams: Sequence[Stream], processor: GlipProcessor) -> None:
        self.settings, self.streams = settings, streams
        # a copy: a tokenizer that another thread sets to pad or to cut must not be in the middle of a call
        self.processor = copy.deepcopy(processor)
        self.mixture = mixture_of(settings, streams)
        self._readers = [RangeReader(one.settings.roots, one.settings.storage) for one in streams]
        self._unknown = processor.tokenizer.unk_token
        special = processor.token_count("")
        count = lru_cache(maxsize=65_536)(lambda text: processor.token_count(text) - special)
        self._budget = TokenBudget(processor.max_tokens - special, count)

    def batch(self, step: int, rank: int = 0, workers: int = 1) -> Batch:
        """One worker's share of a step's batch, from step 0; the shares together are the batch of one worker alone.

        (Accumulation over A parts is the same: ask for rank * A + part of workers * A.)
        raises: ConfigError when batch_size is no multiple of `workers`
        """
        slots = slots_of(step, self.settings.batch_size, rank, workers)
        return self.collate([self.item(slot) for slot in slots])

    def batch_bytes(self, workers: int = 1) -> int:
        """What the tensors of one worker's batch take when an image is as large as the processor makes them."""
        side = math.ceil(self.processor.longer_side / AUTHORS_PAD_MULTIPLE) * AUTHORS_PAD_MULTIPLE
        pixels, tokens = 3 * 4 + 8, 2 * 8  # float32 values and an int64 mask; two int64
        share = self.settings.batch_size // workers
        return share * (side * side * pixels + self.processor.max_tokens * tokens)

    def slot(self, slot: int) -> tuple[Stream, Example]:
        """Which example of which stream fills a slot; slots are numbered through all steps."""
        number, row = self._place(slot)
        return self.streams[number], self.streams[number].examples[row]

    def prompt(self, slot: int) -> Prompt:
        """The prompt of a slot, before any mirror turns its words."""
        number, row = self._place(slot)
        stream = self.streams[number]
        return self._prompt(slot, stream, row, stream.examples[row])

    def item(self, slot: int) -> Item:
        """A slot with its image read, decoded, resized and moved. Any thread may make it."""
        number, row = self._place(slot)
        stream = self.streams[number]
        example = stream.examples[row]
        prompt = self._prompt(slot, stream, row, example)
        rng, augment = slot_generator(self.settings.seed, slot, "motion"), self.settings.augment
        motion, scale = draw_motion(rng, augment), draw_scale(rng, augment)
        stored = _stored_image(self._readers[number], stream, example)
        image = move_image(self.processor.resize(stored, scale), motion)
        hw = (stored.height, stored.width)
        return Item(example, mirrored(prompt) if motion.mirrored else prompt, motion, image, hw)

    def collate(self, items: Sequence[Item]) -> Batch:
        """Items put together, in their order."""
        tokens = PromptTokens(self.processor, [item.prompt.text for item in items])
        input_ids, attention_mask = tokens.inputs()
        counts = Counter(item.prompt.kind for item in items)
        labels = [self._labels(place, item, tokens, counts) for place, item in enumerate(items)]
        pixels = self.processor.pixels([item.image for item in items])
        return Batch(
            pixel_values=pixels["pixel_values"],
            pixel_mask=pixels["pixel_mask"],
            input_ids=input_ids,
            attention_mask=attention_mask,
            labels=labels,
            prompts=[item.prompt for item in items],
            names=[item.example.name for item in items],
            counts=counts,
            global_size=self.settings.batch_size,
        )

    def _place(self, slot: int) -> tuple[int, int]:
        """(stream, row) of a slot."""
        number, ordinal = self.mixture.at(slot)
        return number, self.streams[number].order.row(ordinal, str(number), self.settings.seed)

    def _prompt(self, slot: int, stream: Stream, row: int, example: Example) -> Prompt:
        if self.settings.tuning_prompt is not None:
            return fixed_prompt(example, self.settings.tuning_prompt)
        rng = slot_generator(self.settings.seed, slot, "prompt")
        prompt = make_prompt(rng, stream, example, self.settings.hard_negatives, self._budget, self._unknown)
        if prompt.kind != "caption" or not stream.settings.packing.most:
            return prompt
        rng = slot_generator(self.settings.seed, slot, "packing")
        return pack_captions(rng, stream, row, example, prompt, self._budget)

    def _labels(self, place: int, item: Item, tokens: PromptTokens, counts: Counter[str]) -> ImageLabels:
        """Spans past the token limit, or of characters that the tokenizer deletes, are left out, and counted."""
        prompt = item.prompt
        covered = tokens.spans(place, [(span.begin, span.end) for span in prompt.spans])
        if not all(covered):
            lost = {"spans_past_token_limit": covered.count(None), "spans_without_token": covered.count([])}
            counts.update({name: number for name, number in lost.items() if number})
            kept = (span for span, own in zip(prompt.spans, covered, strict=True) if own)
            prompt = Prompt(prompt.text, tuple(kept), prompt.kind)
        return image_labels(
            item.example,
            prompt,
            [own for own in covered if own],
            tokens.width,
            item.motion,
            item.stored_hw,
            (item.image.shape[0], item.image.shape[1]),
            self.settings.augment.min_visible,
        )


def _stored_image(reader: RangeReader, stream: Stream, example: Example) -> Image.Image:
    """The image that was labelled. Raises Conflict for other bytes, GroundswellError for bytes that do not decode."""
    data = reader.read(example.pixels)
    if sha256_hex(data) != example.image_sha256:
        raise Conflict(
            f"{example.name} of {stream.settings.url}: the image at {example.pixels['url']} is not the one that was "
            "labelled (its sha256 differs); restore the shard, or name its place in the stream's `roots`"
        )
    try:
        return decode_picture(data)[0]
    except SampleRejected as error:
        raise GroundswellError(f"{example.name} of {stream.settings.url} cannot be read: {error}") from error
