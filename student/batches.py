"""Batches: the tensors of step n, a pure function of (streams, settings, processor, n).

Nothing is carried from one step to the next, so a run that resumes at step n sees what the undisturbed one saw.
"""

# B images, T tokens of the longest prompt of the batch
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from torch import Tensor

from engine.reading.images import decode_image
from engine.reading.pixels import read_pixels
from schemas.digests import sha256_hex
from schemas.errors import Conflict, EmptyPhrase, GroundswellError, SampleRejected
from student.caption_packing import pack_captions
from student.examples import Example, Stream
from student.geometry import Motion, draw_motion, move_image
from student.mixture import mixture_of
from student.order import slot_generator, slots_of
from student.prompts import Prompt, PromptSpan, TokenBudget, fixed_prompt, make_prompt, mirrored
from student.settings import TrainSettings
from student.targets import image_labels
from teacher.models.glip import GlipProcessor
from teacher.models.glip.losses import ImageLabels

# Prompts are padded to a multiple of this, so that few widths occur.
_TEXT_MULTIPLE = 8


@dataclass(frozen=True)
class Batch:
    """What one step learns from."""

    pixel_values: Tensor  # [B, 3, H, W]
    pixel_mask: Tensor  # [B, H, W]
    input_ids: Tensor  # [B, T]
    attention_mask: Tensor  # [B, T]
    labels: list[ImageLabels]
    prompts: list[Prompt]
    names: list[str]
    counts: Counter[str]
    global_size: int  # images of the step over all workers


@dataclass(frozen=True)
class _Item:
    example: Example
    prompt: Prompt
    motion: Motion
    image: np.ndarray
    stored_hw: tuple[int, int]


class BatchMaker:
    """Makes the batch of any step."""

    def __init__(self, settings: TrainSettings, streams: Sequence[Stream], processor: GlipProcessor) -> None:
        self.settings, self.streams, self.processor = settings, streams, processor
        self.mixture = mixture_of(settings, streams)
        self._unknown = processor.tokenizer.unk_token
        special = processor.token_count("")
        count = lru_cache(maxsize=4096)(lambda text: processor.token_count(text) - special)
        self._budget = TokenBudget(processor.max_tokens - special, count)

    def batch(self, step: int, rank: int = 0, workers: int = 1) -> Batch:
        """One worker's share of a step's batch, from step 0; the shares together are the batch of one worker alone.

        (Accumulation over A parts is the same: ask for rank * A + part of workers * A.)
        raises: ConfigError when batch_size is no multiple of `workers`
        """
        slots = slots_of(step, self.settings.batch_size, rank, workers)
        return self._collate([self._item(slot) for slot in slots])

    def slot(self, slot: int) -> tuple[Stream, Example]:
        """Which example of which stream fills a slot; slots are numbered through all steps."""
        stream, row = self._place(slot)
        return stream, stream.examples[row]

    def prompt(self, slot: int) -> Prompt:
        """The prompt of a slot, before any mirror turns its words."""
        stream, row = self._place(slot)
        return self._prompt(slot, stream, row, stream.examples[row])

    def _place(self, slot: int) -> tuple[Stream, int]:
        number, ordinal = self.mixture.at(slot)
        stream = self.streams[number]
        return stream, stream.order.row(ordinal, str(number), self.settings.seed)

    def _prompt(self, slot: int, stream: Stream, row: int, example: Example) -> Prompt:
        if self.settings.tuning_prompt is not None:
            return fixed_prompt(example, self.settings.tuning_prompt)
        rng = slot_generator(self.settings.seed, slot, "prompt")
        prompt = make_prompt(rng, stream, example, self.settings.hard_negatives, self._budget, self._unknown)
        if prompt.kind != "caption" or not stream.settings.packing.most:
            return prompt
        rng = slot_generator(self.settings.seed, slot, "packing")
        return pack_captions(rng, stream, row, example, prompt, self._budget)

    def _item(self, slot: int) -> _Item:
        stream, row = self._place(slot)
        example = stream.examples[row]
        prompt = self._prompt(slot, stream, row, example)
        motion = draw_motion(slot_generator(self.settings.seed, slot, "motion"), self.settings.augment)
        stored = _stored_image(stream, example)
        image = move_image(self.processor.resize(stored), motion)
        height, width = stored.shape[:2]
        return _Item(example, mirrored(prompt) if motion.mirrored else prompt, motion, image, (height, width))

    def _collate(self, items: Sequence[_Item]) -> Batch:
        texts = [item.prompt.text for item in items]
        longest = max(self.processor.token_count(text) for text in texts)
        width = min(-(-longest // _TEXT_MULTIPLE) * _TEXT_MULTIPLE, self.processor.max_tokens)
        tokens = self.processor.tokens(texts, width)
        cut: Counter[str] = Counter()
        labels = [self._labels(item, width, cut) for item in items]
        pixels = self.processor.pixels([item.image for item in items])
        return Batch(
            pixel_values=pixels["pixel_values"],
            pixel_mask=pixels["pixel_mask"],
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
            labels=labels,
            prompts=[item.prompt for item in items],
            names=[item.example.name for item in items],
            counts=Counter(item.prompt.kind for item in items) + cut,
            global_size=self.settings.batch_size,
        )

    def _labels(self, item: _Item, width: int, cut: Counter[str]) -> ImageLabels:
        prompt, tokens = self._within(item.prompt, width, cut)
        stored, settings = item.stored_hw, self.settings.augment
        size = item.image.shape[0], item.image.shape[1]
        return image_labels(
            item.example, prompt, tokens, width, item.motion, stored, size, settings.min_visible
        )

    def _within(self, prompt: Prompt, width: int, cut: Counter[str]) -> tuple[Prompt, list[list[int]]]:
        """The prompt and its spans' tokens. Spans past the token limit are left out, and counted."""
        try:
            return prompt, self._span_tokens(prompt.text, prompt.spans, width)
        except EmptyPhrase:
            pass  # some span is cut off: find out which
        kept, tokens = [], []
        for span in prompt.spans:
            try:
                tokens += self._span_tokens(prompt.text, [span], width)
                kept.append(span)
            except EmptyPhrase:
                cut["spans_past_token_limit"] += 1
        return Prompt(prompt.text, tuple(kept), prompt.kind), tokens

    def _span_tokens(self, text: str, spans: Sequence[PromptSpan], width: int) -> list[list[int]]:
        return self.processor.phrase_tokens(text, [[(span.begin, span.end)] for span in spans], width)


def _stored_image(stream: Stream, example: Example) -> np.ndarray:
    """The image that was labelled. Raises Conflict for other bytes, GroundswellError for bytes that do not decode."""
    data = read_pixels(example.pixels, stream.settings.roots)
    if sha256_hex(data) != example.image_sha256:
        raise Conflict(
            f"{example.name} of {stream.settings.url}: the image at {example.pixels['url']} is not the one that was "
            "labelled (its sha256 differs); restore the shard, or name its place in the stream's `roots`"
        )
    try:
        return decode_image(data).rgb_u8
    except SampleRejected as error:
        raise GroundswellError(f"{example.name} of {stream.settings.url} cannot be read: {error}") from error


def batches_ahead(
    maker: BatchMaker, first: int, end: int, rank: int = 0, workers: int = 1
) -> Iterator[Batch]:
    """A worker's batches of steps first..end-1; the next one is made while the caller learns from this one."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as pool:
        coming = pool.submit(maker.batch, first, rank, workers)
        for step in range(first, end):
            batch = coming.result()
            if step + 1 < end:
                coming = pool.submit(maker.batch, step + 1, rank, workers)
            yield batch
