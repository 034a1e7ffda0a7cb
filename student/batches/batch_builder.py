"""Build the batch of a step, a pure function of (streams, settings, processor, step).

No state passes from one step to the next. So a run that resumes at step n gets the batches of an undisturbed run, and
workers that share a step together get the batch of a single worker.
"""

# B images, T tokens of the longest prompt of the batch
from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from engine.reading.images import decode_picture
from engine.reading.range_reader import RangeReader
from schemas.digests import sha256_hex
from schemas.errors import ConflictError, GroundswellError, SampleRejectedError
from student.batches.geometry import AffineAugmentation, augment_image, draw_scale, sample_augmentation
from student.batches.targets import make_targets
from student.data.examples import TrainingExample
from student.data.mixture import make_mixture
from student.data.order import slot_generator, worker_slots
from student.data.streams import Stream
from student.prompts.caption_packing import pack_captions
from student.prompts.tokens import PromptTokens
from student.prompts.training_prompt import (
    TokenBudget,
    TrainingPrompt,
    make_fixed_prompt,
    make_prompt,
    mirror_prompt,
)
from student.settings.train import TrainSettings
from teacher.models.glip import GlipProcessor
from teacher.models.glip.images.steps import AUTHORS_PAD_MULTIPLE
from teacher.models.glip.losses import ImageLabels


@dataclass(frozen=True)
class PackedBatch:
    """A batch in a form for other processes: its many small tensors are arrays, since each would cost a shared file."""

    tensors: dict[str, Tensor]  # the large ones, by field of Batch
    labels: list[dict[str, NDArray[np.float32]]]
    prompts: list[TrainingPrompt]
    names: list[str]
    counts: Counter[str]
    global_size: int


@dataclass(frozen=True)
class Batch:
    """The training data of one worker in one step."""

    pixel_values: Tensor  # [B, 3, H, W]
    pixel_mask: Tensor  # [B, H, W]
    input_ids: Tensor  # [B, T]
    attention_mask: Tensor  # [B, T]
    labels: list[ImageLabels]
    prompts: list[TrainingPrompt]
    names: list[str]
    counts: Counter[str]
    global_size: int  # images of the step over all workers

    def pack(self) -> PackedBatch:
        """Return the batch in its form for other processes."""
        tensors = {
            "pixel_values": self.pixel_values,
            "pixel_mask": self.pixel_mask,
            "input_ids": self.input_ids,
            "attention_mask": self.attention_mask,
        }
        labels = [
            {name: value.numpy() for name, value in cast(dict[str, Tensor], label).items()}
            for label in self.labels
        ]
        return PackedBatch(tensors, labels, self.prompts, self.names, self.counts, self.global_size)

    def __reduce__(self) -> tuple[object, tuple[PackedBatch]]:
        return unpack_batch, (self.pack(),)


def unpack_batch(packed: PackedBatch) -> Batch:
    """Return the batch that `Batch.pack` packed."""
    labels = [{name: torch.from_numpy(value) for name, value in one.items()} for one in packed.labels]
    return Batch(
        **packed.tensors,
        labels=cast(list[ImageLabels], labels),
        prompts=packed.prompts,
        names=packed.names,
        counts=packed.counts,
        global_size=packed.global_size,
    )


@dataclass(frozen=True)
class BatchItem:
    """The image of one slot before its batch is collated."""

    example: TrainingExample
    prompt: TrainingPrompt
    motion: AffineAugmentation
    image: NDArray[np.uint8]  # [H, W, 3], resized and moved
    stored_hw: tuple[int, int]


class BatchBuilder:
    """Builds the batch of any step."""

    def __init__(self, settings: TrainSettings, streams: Sequence[Stream], processor: GlipProcessor) -> None:
        self.settings, self.streams = settings, streams
        # a copy: another thread may set a shared tokenizer to pad or to truncate in the middle of a call
        self.processor = copy.deepcopy(processor)
        self.mixture = make_mixture(settings, streams)
        self._readers = [RangeReader(one.settings.roots, one.settings.storage) for one in streams]
        self._unknown = processor.tokenizer.unk_token
        special = processor.token_count("")

        @lru_cache(maxsize=65_536)
        def count_tokens(text: str) -> int:
            return processor.token_count(text) - special

        self._budget = TokenBudget(processor.max_tokens - special, count_tokens)

    def build(self, step: int, rank: int = 0, workers: int = 1) -> Batch:
        """Return one worker's share of a step's batch. Together the shares are the batch of a single worker.

        The first step is 0. Accumulation over A parts works in the same way: rank * A + part of workers * A.

        raises: ConfigError if batch_size is not a multiple of `workers`
        """
        slots = worker_slots(step, self.settings.batch_size, rank, workers)
        return self.collate([self.load_item(slot) for slot in slots])

    def batch_bytes(self, workers: int = 1) -> int:
        """Return the size of the tensors of one worker's batch, for images as large as the processor makes them."""
        side = math.ceil(self.processor.longer_side / AUTHORS_PAD_MULTIPLE) * AUTHORS_PAD_MULTIPLE
        pixels, tokens = 3 * 4 + 8, 2 * 8  # float32 values and an int64 mask; two int64
        share = self.settings.batch_size // workers
        return share * (side * side * pixels + self.processor.max_tokens * tokens)

    def load_item(self, slot: int) -> BatchItem:
        """Return a slot with its image read, decoded, resized and moved. Slots are numbered through all steps.

        Any thread may call it.
        """
        number, ordinal = self.mixture.locate(slot)
        stream = self.streams[number]
        row = stream.order.row(ordinal, str(number), self.settings.seed)
        example = stream.examples[row]
        prompt = self._make_prompt(slot, stream, row, example)
        rng, augment = slot_generator(self.settings.seed, slot, "motion"), self.settings.augment
        motion, scale = sample_augmentation(rng, augment), draw_scale(rng, augment)
        stored = _load_image(self._readers[number], stream, example)
        image = augment_image(self.processor.resize(stored, scale), motion)
        hw = (stored.height, stored.width)
        return BatchItem(example, mirror_prompt(prompt) if motion.is_mirrored else prompt, motion, image, hw)

    def collate(self, items: Sequence[BatchItem]) -> Batch:
        """Return the batch of some items, in their order."""
        tokens = PromptTokens(self.processor, [item.prompt.text for item in items])
        input_ids, attention_mask = tokens.inputs()
        counts = Counter(item.prompt.kind for item in items)
        labels = [self._make_labels(position, item, tokens, counts) for position, item in enumerate(items)]
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

    def _make_prompt(self, slot: int, stream: Stream, row: int, example: TrainingExample) -> TrainingPrompt:
        if self.settings.tuning_prompt is not None:
            return make_fixed_prompt(example, self.settings.tuning_prompt)
        rng = slot_generator(self.settings.seed, slot, "prompt")
        prompt = make_prompt(rng, stream, example, self.settings.hard_negatives, self._budget, self._unknown)
        if prompt.kind != "caption" or not stream.settings.packing.most:
            return prompt
        rng = slot_generator(self.settings.seed, slot, "packing")
        return pack_captions(rng, stream, row, example, prompt, self._budget)

    def _make_labels(
        self, position: int, item: BatchItem, tokens: PromptTokens, counts: Counter[str]
    ) -> ImageLabels:
        """Return the labels of an item. Count and leave out spans past the token limit or without a token.

        A span has no token if the tokenizer deletes all of its characters.
        """
        prompt = item.prompt
        covered = tokens.find_spans(position, [(span.begin, span.end) for span in prompt.spans])
        if not all(covered):
            lost = {"spans_past_token_limit": covered.count(None), "spans_without_token": covered.count([])}
            counts.update({name: number for name, number in lost.items() if number})
            spans = (span for span, own in zip(prompt.spans, covered, strict=True) if own)
            prompt = TrainingPrompt(prompt.text, tuple(spans), prompt.kind)
        return make_targets(
            item.example,
            prompt,
            [own for own in covered if own],
            tokens.width,
            item.motion,
            item.stored_hw,
            (item.image.shape[0], item.image.shape[1]),
            self.settings.augment.min_visible,
        )


def _load_image(reader: RangeReader, stream: Stream, example: TrainingExample) -> Image.Image:
    """Return the labeled image. Raise ConflictError for other bytes, GroundswellError for bytes that do not decode."""
    data = reader.read(example.pixels)
    if sha256_hex(data) != example.image_sha256:
        raise ConflictError(
            f"{example.name} of {stream.settings.url}: the image at {example.pixels['url']} is not the one that was "
            "labeled (its sha256 differs); restore the shard, or set the stream's `roots` to its new location"
        )
    try:
        return decode_picture(data)[0]
    except SampleRejectedError as error:
        raise GroundswellError(
            f"{example.name} of {stream.settings.url} cannot be read: {error}; label or import its shard again, which "
            "rejects such an image"
        ) from error
